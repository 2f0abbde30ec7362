"""How long does the exact engine's index take to build and to open, how much memory, and how fast is it?

Run `python benchmarks/bench_index.py --documents 100000 1000000`. The documents are synthetic (terms Zipf-like over
30,522 terms, impacts uniform): they say something about speed and size, nothing about retrieval quality. They are
written as an output's JSON lines first, which is not timed; what is timed is the parser and `IndexWriter`, in one
thread and in a process of its own, so that its peak of resident memory is its own too. A table comes first, one line
of JSON last; the same JSON goes to `--output`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_impact_dot import VOCAB_SIZE, head, zipf_matrix
from machine import machine

from lexlip_infer.impacts import JsonLinesParser, JsonLinesWriter
from lexlip_infer.retrieval.impact_index import ExactEngine, IndexWriter
from lexlip_infer.vocabulary import Vocabulary

DEFAULT_OUTPUT = Path(__file__).parent / "results" / "index.json"
TERMS = tuple(f"t{term}" for term in range(VOCAB_SIZE))
PART = 20_000

Report = dict[str, Any]


def write_parts(folder: Path, documents: int, terms: int) -> None:
    """JSON lines; every part repeats the same vectors under ids of its own, in no order."""
    vectors, writer = zipf_matrix(min(PART, documents), terms, seed=0), JsonLinesWriter(TERMS)
    numbers = np.random.default_rng(1).permutation(documents)
    for part, start in enumerate(range(0, documents, PART)):
        ids = [f"photographs/{number:09d}.jpg" for number in numbers[start : start + PART]]
        (folder / f"part-{part:05d}.jsonl").write_bytes(writer.encode(ids, head(vectors, len(ids))))


def build(source: Path, index: Path) -> Report:
    """Read the parts one by one and index them; seconds and peak memory of this process."""
    begun = time.perf_counter()
    parser = JsonLinesParser(Vocabulary(TERMS))
    with IndexWriter(index, VOCAB_SIZE, TERMS) as writer:
        for part in sorted(source.iterdir()):
            writer.add(*parser.parse(part.read_bytes()))
        writer.commit()
    seconds = time.perf_counter() - begun
    return {"build_s": round(seconds, 2), "build_peak_mb": peak_mb()}


def search(index: Path, queries: int) -> Report:
    """Open and search; seconds, memory and queries a second of this process."""
    asked = zipf_matrix(queries, 32, seed=2)
    before, begun = peak_mb(), time.perf_counter()
    engine = ExactEngine.open(index)
    opened = time.perf_counter() - begun
    report: Report = {
        "open_ms": round(opened * 1e3, 1),
        "open_added_mb": round(peak_mb() - before, 1),
        "bytes_a_document": round(engine.bytes_on_disk / engine.documents, 1),
    }
    engine.search(asked, 10, 2)  # reads the postings from the disk
    for threads in (1, 2):
        begun = time.perf_counter()
        engine.search(asked, 10, threads)
        report[f"qps_{threads}_threads"] = round(queries / (time.perf_counter() - begun), 1)
    return report | {"search_peak_mb": peak_mb()}


def peak_mb() -> float:
    """Peak resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def measure(documents: int, terms: int, queries: int, scratch: Path) -> Report:
    """One size, each step in a process of its own."""
    source, index = scratch / "source", scratch / "index"
    source.mkdir()
    write_parts(source, documents, terms)
    report: Report = {"documents": documents, "terms_per_document": terms, "queries": queries}
    for step in (["build", source, index], ["search", index, queries]):
        done = subprocess.run([sys.executable, __file__, *map(str, step)], stdout=subprocess.PIPE, check=True)
        report |= json.loads(done.stdout)
    shutil.rmtree(source)
    shutil.rmtree(index)
    return report


def main() -> None:
    """Measure every size, print, write."""
    if sys.argv[1:2] == ["build"]:
        print(json.dumps(build(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    if sys.argv[1:2] == ["search"]:
        print(json.dumps(search(Path(sys.argv[2]), int(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(
        description="Time building, opening and searching an index of synthetic documents."
    )
    parser.add_argument("--documents", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--terms", type=int, default=85)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--scratch", type=Path, default=None, help="folder on the disk to measure")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    arguments = parser.parse_args()
    report: Report = {"benchmark": "index", "data": "synthetic, for speed and size only", "machine": machine()}
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        sizes = [measure(n, arguments.terms, arguments.queries, Path(scratch)) for n in arguments.documents]
    report["results"] = sizes
    for row in sizes:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n" + json.dumps(report))


if __name__ == "__main__":
    main()
