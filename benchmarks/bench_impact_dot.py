"""How fast is the exact impact search?

Run `python benchmarks/bench_impact_dot.py`. The collection is synthetic (100,000 documents of 130 terms,
Zipf-like over 30,522 terms; queries of 32): it says something about speed on postings of this shape, nothing
about retrieval quality. Before anything is timed, the native backend has to agree with the reference on a
sample, and scipy's scores with the native ones on every query.

The baseline is the fastest exact search we could write with scipy, on one thread: the collection transposed
once, a sparse query times that matrix (which, like an inverted index, touches only the postings of the
query's terms), then argpartition and a sort. It finds scores only; the native search also orders ties by row.
A table comes first, one line of JSON last; the same JSON goes to `--output`.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
from machine import machine

from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from lexlip_kernels.impact_dot import SearchResult

VOCAB_SIZE = 30_522
DOCUMENT_TERMS = 130
QUERY_TERMS = 32
ZIPF_EXPONENT = 0.8
DEFAULT_OUTPUT = Path(__file__).parent / "results" / "impact_dot.json"

Report = dict[str, Any]


def zipf_matrix(rows: int, terms: int, seed: int) -> ImpactMatrix:
    """Rows of exactly `terms` distinct terms, frequent terms first, impacts uniform in [1, 255]."""
    random = np.random.default_rng(seed)
    cumulative = np.cumsum(np.arange(1, VOCAB_SIZE + 1) ** -ZIPF_EXPONENT)
    indices = np.empty((rows, terms), np.int32)
    for row in indices:
        draws = np.searchsorted(cumulative, random.random(2 * terms) * cumulative[-1])
        row[:] = np.sort(random.permutation(np.unique(draws))[:terms])
    impacts = random.integers(1, 256, rows * terms).astype(np.int32)
    return ImpactMatrix(np.arange(rows + 1, dtype=np.int64) * terms, indices.ravel(), impacts, VOCAB_SIZE)


def to_scipy(matrix: ImpactMatrix) -> scipy.sparse.csr_array:
    """The same matrix for scipy, integers as they are."""
    return scipy.sparse.csr_array(
        (matrix.impacts, matrix.indices, matrix.indptr), shape=(len(matrix), matrix.vocab_size)
    )


def scipy_search(by_term: scipy.sparse.csr_array, queries: scipy.sparse.csr_array, k: int) -> npt.NDArray[np.int32]:
    """Scores of the k best documents of each query, (Q, k), best first."""
    best = np.zeros((queries.shape[0], k), np.int32)
    for i in range(queries.shape[0]):
        scores = (queries[[i]] @ by_term).data
        if len(scores) > k:
            scores = scores[np.argpartition(scores, -k)[-k:]]
        best[i, : len(scores)] = np.sort(scores)[::-1]
    return best


def check_against_reference(documents: ImpactMatrix, queries: ImpactMatrix) -> None:
    """Stop unless native and reference agree on the first 2,000 documents and 20 queries."""
    sample, few = documents[:2_000], queries[:20]
    native = ImpactIndex.build(sample, "native").search(few, 100, 2, "native")
    reference = ImpactIndex.build(sample, "reference").search(few, 100, 1, "reference")
    np.testing.assert_array_equal(native.rows, reference.rows)
    np.testing.assert_array_equal(native.scores, reference.scores)


def ms_per_query(run: Callable[[], object], queries: int, repeats: int) -> dict[str, float]:
    """Median, fastest and slowest of the repeats, wall clock, divided by the number of queries."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3 / queries)
    return {
        "median_ms_per_query": round(float(np.median(times)), 4),
        "min_ms_per_query": round(min(times), 4),
        "max_ms_per_query": round(max(times), 4),
    }


def time_engines(
    index: ImpactIndex, documents: ImpactMatrix, queries: ImpactMatrix, k: int, repeats: int
) -> list[dict[str, float | str]]:
    """Time scipy and the native search, after comparing their scores."""
    by_term, sparse_queries = to_scipy(documents).T.tocsr(), to_scipy(queries)

    def run_scipy() -> npt.NDArray[np.int32]:
        return scipy_search(by_term, sparse_queries, k)

    def run_native(threads: int) -> SearchResult:
        return index.search(queries, k, threads, "native")

    np.testing.assert_array_equal(run_native(threads=1).scores, run_scipy())
    baseline = ms_per_query(run_scipy, len(queries), repeats)
    results: list[dict[str, float | str]] = [{"engine": "scipy", "k": k, "threads": 1, **baseline}]
    for threads in (1, 2):
        timing = ms_per_query(partial(run_native, threads), len(queries), repeats)
        speedup = round(baseline["median_ms_per_query"] / timing["median_ms_per_query"], 2)
        measured = {"k": k, "threads": threads, **timing, "times_faster_than_scipy": speedup}
        results.append({"engine": "native", **measured})
    return results


def measure(documents: ImpactMatrix, queries: ImpactMatrix, repeats: int) -> Report:
    """Time building and searching."""
    start = time.perf_counter()
    index = ImpactIndex.build(documents, "native")
    build_s = time.perf_counter() - start
    postings = int(index.document_frequencies[queries.indices].sum())
    results = [row for k in (10, 1000) for row in time_engines(index, documents, queries, k, repeats)]
    return {
        "build_s": round(build_s, 3),
        "postings_per_query": round(postings / len(queries)),
        "results": results,
    }


def print_table(report: Report) -> None:
    """The figures for a person."""
    print(f"{report['documents']} documents, {report['postings_per_query']} postings a query", end="; ")
    print(f"index built in {report['build_s']} s; scores checked\n")
    print(f"{'engine':8} {'k':>5} {'threads':>7} {'median ms':>10} {'min':>8} {'max':>8}   times scipy's speed")
    for row in report["results"]:
        median, fastest, slowest = (row[f"{name}_ms_per_query"] for name in ("median", "min", "max"))
        timings = f"{median:10.3f} {fastest:8.3f} {slowest:8.3f}"
        speedup = row.get("times_faster_than_scipy", "")
        print(f"{row['engine']:8} {row['k']:5} {row['threads']:7} {timings}   {speedup}")


def main() -> None:
    """Check, time, print, write."""
    parser = argparse.ArgumentParser(description="Time the exact impact search on synthetic data.")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    arguments = parser.parse_args()

    environment = machine("scipy")
    documents = zipf_matrix(arguments.documents, DOCUMENT_TERMS, seed=0)
    queries = zipf_matrix(arguments.queries, QUERY_TERMS, seed=1)
    check_against_reference(documents, queries)
    report: Report = {
        "benchmark": "impact_dot",
        "data": "synthetic, for speed only",
        "documents": len(documents),
        "terms_per_document": DOCUMENT_TERMS,
        "queries": len(queries),
        "terms_per_query": QUERY_TERMS,
        "vocab_size": VOCAB_SIZE,
        "repeats": arguments.repeats,
        "machine": environment,
        **measure(documents, queries, arguments.repeats),
    }
    print_table(report)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n" + json.dumps(report))


if __name__ == "__main__":
    main()
