"""The small costs, side by side under one runner: JSON lines, quantising, image loading, search.

    python benchmarks/micro.py [--runs 9] [--output benchmarks/results/micro.json]

Everything is made up (`SYNTHETIC` in the record) and says something about speed on data of this shape. Contestants that
claim the same result are compared before anything is timed, and then run in turn, one thread each. Times are
milliseconds an item (a document, a photograph, a query): the median of all runs with its 95 % interval.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from bench_impact_dot import scipy_search, to_scipy, zipf_matrix
from bench_json_writer import make_batch, make_terms, with_json, with_orjson
from PIL import Image

from lexlip_infer.bench.inputs import write_images
from lexlip_infer.bench.machine import listen, machine_info
from lexlip_infer.bench.report import median_interval
from lexlip_infer.files import write_whole
from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings, quantise, reference
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_kernels.impact_dot import ImpactIndex

DEFAULT_OUTPUT = Path(__file__).parent / "results" / "micro.json"
TERMS = 128

#: Name of a contestant, and what it does for `items` items at once.
Contest = tuple[int, dict[str, Callable[[], object]]]


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
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(runs + 1):
        for name, work in contestants.items():
            started = time.perf_counter()
            work()
            if run > 0:
                seconds[name].append((time.perf_counter() - started) * 1e3 / items)
    return [{"name": name} | median_interval([took]).model_dump() for name, took in seconds.items()]


def main() -> None:
    """Check, measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--small", action="store_true", help="a hundredth of the data, to see that it runs")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    options = parser.parse_args()
    if not options.output.parent.is_dir():
        parser.error(f"{options.output.parent}: no such folder; name another file for --output")
    contests = {
        "JSON lines, a document of 128 terms": (json_lines, 10_000),
        "quantising, a document of 128 terms": (quantising, 1_000),
        "image loading, a photograph of 640 x 480": (image_loading, 16),
        "search, a query of 32 terms in 20,000 documents": (search, 100),
    }
    noise = listen()
    results = {}
    for title, (contest, size) in contests.items():
        print(f"measuring: {title}", file=sys.stderr, flush=True)
        results[title] = timed(contest(max(2, size // 100) if options.small else size), options.runs)
    for title, rows in results.items():
        print(title)
        for row in rows:
            print(f"  {row['name']:38} {row['median']:10.4f} ms  ({row['low']:.4f} - {row['high']:.4f})")
    record = {"benchmark": "micro", "data": "SYNTHETIC", "runs": options.runs, "threads": 1, "results": results}
    record |= {"machine": machine_info(), "noise": noise.model_dump()}
    write_whole(options.output, json.dumps(record, indent=1).encode() + b"\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
