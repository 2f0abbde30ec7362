"""Impacts to JSON lines: the numba byte writer against dictionaries with orjson and with json, one thread.

    python benchmarks/bench_json_writer.py [--documents 10000] [--terms 128] [--runs 9]

SYNTHETIC data: made-up word pieces over a vocabulary of 30,522, drawn by Zipf's law, with gamma-distributed
impacts. Bytes are compared before anything is timed. The floor is the time that copying the same bytes within
memory takes: no writer can be faster. Prints a table, then one JSON line, which it also saves to
`benchmarks/results/json_writer.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import orjson
from machine import machine

from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lexlip_kernels.impact_matrix import ImpactMatrix

VOCAB_SIZE = 30_522
Terms = npt.NDArray[np.object_]
QUANTISERS = ("quantise", "quantise, normalised")
RESULT = Path(__file__).parent / "results" / "json_writer.json"


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


def dictionaries(ids: Sequence[str], matrix: ImpactMatrix, terms: Terms) -> Iterator[dict[str, object]]:
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


def timed(function: Callable[[], object]) -> float:
    """Seconds of wall clock for one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Check, measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--terms", type=int, default=128, help="terms a document")
    parser.add_argument("--runs", type=int, default=9, help="timed runs; medians are reported")
    options = parser.parse_args()

    rng = np.random.default_rng(2023)
    terms = make_terms(rng)
    batch = make_batch(rng, options.documents, options.terms)
    ids = [f"train2017/{number:012d}.jpg" for number in range(options.documents)]

    first_quantise_s = timed(lambda: quantise(batch[:1]))
    matrix = quantise(batch)
    construct_s = timed(lambda: JsonLinesWriter(terms))
    writer = JsonLinesWriter(terms)
    first_encode_s = timed(lambda: writer.encode(ids[:1], quantise(batch[:1])))

    lookup = np.array(terms, dtype=object)
    expected = writer.encode(ids, matrix)
    if not expected == with_orjson(ids, matrix, lookup) == with_json(ids, matrix, lookup):
        raise SystemExit("the writers disagree; timing a wrong answer would be pointless")

    source = np.frombuffer(expected, np.uint8)
    target = np.empty_like(source)
    normalising = QuantisationSettings(normalise=True)
    contestants: dict[str, Callable[[], object]] = {
        "numba": lambda: writer.encode(ids, matrix),
        "orjson": lambda: with_orjson(ids, matrix, lookup),
        "json": lambda: with_json(ids, matrix, lookup),
        "memory copy (floor)": lambda: np.copyto(target, source),
        "quantise": lambda: quantise(batch),
        "quantise, normalised": lambda: quantise(batch, normalising),
    }
    # Interleaved, so that a busy spell of the machine hits all of them.
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.runs):
        for name, function in contestants.items():
            seconds[name].append(timed(function))
    report(options, len(expected), seconds, (first_quantise_s, construct_s, first_encode_s))


def report(
    options: argparse.Namespace, size: int, seconds: dict[str, list[float]], once: tuple[float, float, float]
) -> None:
    """Print the table and the JSON line, and save the latter."""
    median = {name: statistics.median(runs) for name, runs in seconds.items()}
    print(f"SYNTHETIC: {options.documents} documents of {options.terms} terms, {size / 1e6:.1f} MB, one thread")
    print(f"{'':24}{'median ms':>10}{'best ms':>10}{'MB/s':>9}{'vs orjson':>11}")
    for name, runs in seconds.items():
        columns = f"{median[name] * 1e3:10.2f}{min(runs) * 1e3:10.2f}"
        if name not in QUANTISERS:
            columns += f"{size / median[name] / 1e6:9.0f}{median['orjson'] / median[name]:10.1f}x"
        print(f"{name:24}{columns}")
    quantise_s, construct_s, encode_s = once
    print("once, with numba's import and compiling or loading cached code:")
    print(f"  quantise {quantise_s:.2f} s, encode {encode_s:.2f} s; the writer {construct_s * 1e3:.0f} ms")
    result = {
        "benchmark": "json_writer",
        "data": "synthetic",
        "documents": options.documents,
        "terms_per_document": options.terms,
        "vocab_size": VOCAB_SIZE,
        "bytes": size,
        "runs": options.runs,
        "threads": 1,
        "bytes_equal": True,
        "median_ms": {name: round(value * 1e3, 3) for name, value in median.items()},
        "best_ms": {name: round(min(runs) * 1e3, 3) for name, runs in seconds.items()},
        "speedup_over_orjson": round(median["orjson"] / median["numba"], 2),
        "speedup_over_json": round(median["json"] / median["numba"], 2),
        "megabytes_per_s": round(size / median["numba"] / 1e6, 1),
        "times_the_floor": round(median["numba"] / median["memory copy (floor)"], 2),
        "first_quantise_s": round(quantise_s, 3),
        "writer_construction_s": round(construct_s, 3),
        "first_encode_s": round(encode_s, 3),
        "machine": machine("numba", "orjson"),
    }
    line = json.dumps(result)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(line)


if __name__ == "__main__":
    main()
