"""How long does the exact engine's index take to build and to open, how much memory, and how fast is it?

    python benchmarks/bench_index.py [--documents 1000000] [--terms 66 85] [--scratch DIR]

The documents are synthetic (terms Zipf-like over 30,522 terms, impacts uniform in 1..255): they say something about
speed and size, nothing about retrieval quality. They are written as an output's JSON lines first, which is not timed;
what is timed is reading and indexing them with two threads, in a process of its own, and opening and searching in
another, so that each one's memory is its own. Every answer's scores are compared with a second search before a rate is
kept. A million documents take about 1 GB of `--scratch`. A table comes first, one line of JSON last; the same JSON goes
to `--output`, after every size that is done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_impact_dot import TERMS, renumbered, zipf_matrix
from harness import Report, machine, memory_mb, options, save, say

from lexlip_infer.bench.large_scale.engines import build_exact_from_parts
from lexlip_infer.impacts import JsonLinesWriter
from lexlip_infer.search.exact.engine import ExactEngine

PART = 20_000
BUILD_THREADS = 2
REPEATS = 5


def write_parts(folder: Path, documents: int, terms: int) -> None:
    """JSON lines; every part repeats the same vectors under ids of its own, in no order."""
    folder.mkdir()
    vectors, writer = zipf_matrix(min(PART, documents), terms, seed=0), JsonLinesWriter(TERMS)
    numbers = np.random.default_rng(1).permutation(documents)
    for part, start in enumerate(range(0, documents, PART)):
        ids = [f"photographs/{number:09d}.jpg" for number in numbers[start : start + PART]]
        (folder / f"part-{part:05d}.jsonl").write_bytes(writer.encode(ids, vectors[: len(ids)]))


def build(source: Path, index: Path) -> Report:
    """Index the parts; seconds and peak memory of this process."""
    begun = time.perf_counter()
    build_exact_from_parts(source, index, TERMS, BUILD_THREADS)
    seconds = round(time.perf_counter() - begun, 2)
    return {"build_threads": BUILD_THREADS, "build_s": seconds, "build_peak_mb": memory_mb("peak")}


def search(index: Path, queries: int) -> Report:
    """Open and search; seconds, memory and queries a second of this process."""
    before, begun = memory_mb("resident"), time.perf_counter()
    engine = ExactEngine.open(index)
    opened = time.perf_counter() - begun
    added = memory_mb("resident") - before
    postings = sum(segment.postings for segment in engine.manifest.segments)
    report: Report = {
        "postings": postings,
        "bytes_on_disk": engine.bytes_on_disk,
        "bytes_a_posting": round(engine.bytes_on_disk / postings, 3),
        "bytes_a_document": round(engine.bytes_on_disk / engine.documents, 1),
        "open_ms": round(opened * 1e3, 1),
        "open_added_mb": round(added, 1),
    }
    asked = renumbered(zipf_matrix(queries, 32, seed=2), engine.vocab.terms)
    expected = engine.search(asked, 10, 2)  # reads the postings from the disk
    for threads in (1, 2):
        report[f"qps_{threads}_threads"] = rate(engine, asked, threads, expected.scores)
    return report | {"search_resident_mb": memory_mb("resident")}


def rate(engine: ExactEngine, asked: Any, threads: int, expected: Any) -> float:
    """Queries a second, of the median run."""
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found = engine.search(asked, 10, threads)
        times.append(time.perf_counter() - begun)
        assert all(np.array_equal(*pair) for pair in zip(found.scores, expected, strict=True)), "two searches disagree"
    return round(len(asked) / float(np.median(times)), 1)


def measure(documents: int, terms: int, queries: int, scratch: Path | None) -> Report:
    """One size, each step in a process of its own."""
    report: Report = {"documents": documents, "terms_per_document": terms, "queries": queries}
    with tempfile.TemporaryDirectory(dir=scratch, prefix="lexlip-index-") as name:
        source, index = Path(name) / "source", Path(name) / "index"
        say(f"{documents:,} documents of {terms} terms: writing")
        write_parts(source, documents, terms)
        report["json_bytes"] = sum(path.stat().st_size for path in source.iterdir())
        for step in (["build", source, index], ["search", index, queries]):
            say(f"{documents:,} documents of {terms} terms: {step[0]}")
            done = subprocess.run([sys.executable, __file__, *map(str, step)], stdout=subprocess.PIPE, check=True)
            report |= json.loads(done.stdout)
    return report


def main() -> None:
    """Measure every size, print, write."""
    if sys.argv[1:2] == ["build"]:
        print(json.dumps(build(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    if sys.argv[1:2] == ["search"]:
        print(json.dumps(search(Path(sys.argv[2]), int(sys.argv[3]))))
        return
    parser = options("Time building, opening and searching an index of synthetic documents.", "index_cpu.json")
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--terms", type=int, nargs="+", default=[66, 85], help="of a document")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--scratch", type=Path, default=None, help="folder on the disk to measure")
    arguments = parser.parse_args()
    results: list[Report] = []
    report: Report = {"benchmark": "index", "data": "synthetic, for speed and size only", "machine": machine()}
    report["results"] = results
    for documents in arguments.documents:
        for terms in arguments.terms:
            results.append(measure(documents, terms, arguments.queries, arguments.scratch))
            print("  ".join(f"{name} {value}" for name, value in results[-1].items()))
            save(report, arguments.output)
    print("\n" + json.dumps(report))


if __name__ == "__main__":
    main()
