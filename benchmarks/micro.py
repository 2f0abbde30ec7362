"""The small costs, side by side under one runner: JSON lines, quantising, image loading, search.

    python benchmarks/micro.py [--runs 9] [--output benchmarks/results/micro.json]

Everything is made up (`SYNTHETIC` in the record) and says something about speed on data of this shape. Contestants that
claim the same result are compared before anything is timed, and then run in turn, one thread each. Times are
milliseconds an item (a document, a photograph, a query): the median of all runs with its 95 % interval.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
from bench_impact_dot import VOCAB_SIZE, scipy_search, to_scipy, zipf_matrix
from harness import Report, finish, machine, options, say, seconds_in_turn
from PIL import Image

from lexlip_infer.bench.inputs import write_images
from lexlip_infer.bench.machine import listen
from lexlip_infer.bench.report import median_interval
from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings, quantise, reference
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

TERMS = 128

Terms = npt.NDArray[np.object_]
#: Name of a contestant, and what it does for `items` items at once.
Contest = tuple[int, dict[str, Callable[[], object]]]


def make_terms(rng: np.random.Generator) -> list[str]:
    """Distinct lower-case words of BERT-like lengths, one in five a `##` piece."""
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    terms: dict[str, None] = {"[PAD]": None}
    while len(terms) < VOCAB_SIZE:
        length = int(np.clip(rng.poisson(6), 2, 18))
        terms["##" * (rng.random() < 0.2) + "".join(rng.choice(letters, length))] = None
    return list(terms)


def make_batch(rng: np.random.Generator, documents: int, kept: int) -> SparseBatch:
    """Weights whose terms follow Zipf's law; Gumbel noise draws without replacement."""
    log_frequency = -np.log(np.arange(VOCAB_SIZE, dtype=np.float32) + 50)
    term_of_rank = rng.permutation(VOCAB_SIZE)
    ids = np.empty((documents, kept), np.int64)
    for row in ids:
        scores = log_frequency + rng.gumbel(size=VOCAB_SIZE).astype(np.float32)
        row[:] = term_of_rank[np.argpartition(-scores, kept)[:kept]]
    weights = rng.gamma(1.5, 0.4, ids.shape).astype(np.float32) + np.float32(0.01)
    return SparseBatch.from_ranked(ids, weights, VOCAB_SIZE)


def dictionaries(
    ids: Sequence[str], matrix: ImpactMatrix, terms: npt.NDArray[np.object_]
) -> Iterator[dict[str, object]]:
    """What a writer without a kernel has to build; the fastest of five ways tried."""
    bounds = matrix.indptr.tolist()
    for name, start, end in zip(ids, bounds, bounds[1:], strict=False):
        keys = terms[matrix.indices[start:end]].tolist()
        yield {
            "id": name,
            "contents": "",
            "vector": dict(zip(keys, matrix.impacts[start:end].tolist(), strict=True)),
        }


def with_orjson(ids: Sequence[str], matrix: ImpactMatrix, terms: Terms) -> bytes:
    """The fastest plain Python way known here."""
    option = orjson.OPT_APPEND_NEWLINE
    return b"".join([orjson.dumps(line, option=option) for line in dictionaries(ids, matrix, terms)])


def with_json(ids: Sequence[str], matrix: ImpactMatrix, terms: Terms) -> bytes:
    """The standard library, with one encoder for all lines."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    return "".join([encode(line) + "\n" for line in dictionaries(ids, matrix, terms)]).encode()


def json_lines(documents: int) -> Contest:
    """Impacts to JSON lines."""
    random = np.random.default_rng(2023)
    terms = make_terms(random)
    matrix = quantise(make_batch(random, documents, TERMS))
    ids = [f"train2017/{number:012d}.jpg" for number in range(documents)]
    writer, lookup = JsonLinesWriter(terms), np.array(terms, dtype=object)
    expected = writer.encode(ids, matrix)
    assert expected == with_orjson(ids, matrix, lookup) == with_json(ids, matrix, lookup), "the writers disagree"
    source = np.frombuffer(expected, np.uint8)
    return documents, {
        "numba kernel (ours)": lambda: writer.encode(ids, matrix),
        "orjson": lambda: with_orjson(ids, matrix, lookup),
        "json": lambda: with_json(ids, matrix, lookup),
        "copy of the bytes (floor)": partial(np.copyto, np.empty_like(source), source),
    }


def quantising(documents: int) -> Contest:
    """Weights to impacts."""
    random = np.random.default_rng(7)
    batch = make_batch(random, documents, TERMS)
    settings = QuantisationSettings(normalise=True)
    ours, defined = quantise(batch, settings), reference.quantise(batch, settings)
    assert np.array_equal(ours.impacts, defined.impacts), "the quantisers disagree"
    return documents, {
        "numba kernel (ours)": lambda: quantise(batch, settings),
        "numpy, row by row (the definition)": lambda: reference.quantise(batch, settings),
        "copy of the weights (floor)": partial(np.copyto, np.empty_like(batch.values), batch.values),
    }


def image_loading(count: int) -> Contest:
    """Photographs of 640 x 480 in JPEG to pixels of 224 x 224."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), count)
        files = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    preprocess = ImagePreprocessor(224, "squash", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    images = [load_image(data) for data in files]
    assert all(image.tobytes() == _plain(data).tobytes() for image, data in zip(images, files, strict=True)), (
        "the decoders disagree"
    )
    return count, {
        "load_image (ours)": lambda: [load_image(data) for data in files],
        "plain Pillow": lambda: [_plain(data) for data in files],
        "resize and normalise (ours)": lambda: [preprocess(image) for image in images],
    }


def _plain(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def search(queries: int) -> Contest:
    """The ten best of 20,000 documents, exactly."""
    documents, asked = zipf_matrix(20_000, 130, 1), zipf_matrix(queries, 32, 2)
    index = ImpactIndex.build(documents)
    by_term, as_scipy = to_scipy(documents).T.tocsr(), to_scipy(asked)
    found = index.search(asked, 10).scores
    assert np.array_equal(found, scipy_search(by_term, as_scipy, 10)), "the searches disagree"
    return queries, {
        "impact_dot (ours)": lambda: index.search(asked, 10),
        "scipy": lambda: scipy_search(by_term, as_scipy, 10),
    }


def timed(contest: Contest, runs: int) -> list[dict[str, object]]:
    """Every contestant in turn in every run; the first run is not counted."""
    items, contestants = contest
    seconds = seconds_in_turn(contestants, runs)
    return [
        {"name": name} | median_interval([[each * 1e3 / items for each in took]]).model_dump()
        for name, took in seconds.items()
    ]


def main() -> None:
    """Check, measure, print, write."""
    parser = options(__doc__ or "", "micro.json")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--small", action="store_true", help="a hundredth of the data, to see that it runs")
    given = parser.parse_args()
    contests = {
        "JSON lines, a document of 128 terms": (json_lines, 10_000),
        "quantising, a document of 128 terms": (quantising, 1_000),
        "image loading, a photograph of 640 x 480": (image_loading, 16),
        "search, a query of 32 terms in 20,000 documents": (search, 100),
    }
    noise = listen()
    results = {}
    for title, (contest, size) in contests.items():
        say(f"measuring: {title}")
        results[title] = timed(contest(max(2, size // 100) if given.small else size), given.runs)
    for title, rows in results.items():
        print(title)
        for row in rows:
            print(f"  {row['name']:38} {row['median']:10.4f} ms  ({row['low']:.4f} - {row['high']:.4f})")
    record: Report = {"benchmark": "micro", "data": "SYNTHETIC", "runs": given.runs, "threads": 1, "results": results}
    record |= {"machine": machine(), "noise": noise.model_dump()}
    finish(record, given.output)


if __name__ == "__main__":
    main()
