"""What can this CPU do at most? The ceilings that the other benchmarks are drawn against.

Run `python benchmarks/bench_ceilings.py`. Measured with the fastest library calls at hand, not read off a data sheet:
square matrix products in torch (oneDNN, MKL) for each number format, and a copy of 256 MiB for the memory. Medians of
nine. A table comes first, one line of JSON last; the same JSON goes to `--output`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 2048
COPIED = 2**28
REPEATS = 9
DEFAULT_OUTPUT = Path(__file__).parent / "results" / "ceilings_cpu.json"


def seconds(run: Callable[[], object]) -> float:
    """Median of several runs, after one that is not counted."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def products() -> dict[str, Callable[[], object]]:
    """A square product in each format that a lexicon head could use."""
    wide = torch.randn(WIDTH, WIDTH)
    half = wide.bfloat16()
    narrow = torch.randint(-127, 128, (WIDTH, WIDTH), dtype=torch.int8)
    return {
        "f32": lambda: wide @ wide,
        "bf16": lambda: half @ half,
        "int8": lambda: torch._int_mm(narrow, narrow),  # noqa: SLF001  (torch has no public int8 product)
    }


def measure(threads: int) -> dict[str, object]:
    """All ceilings at a number of threads."""
    torch.set_num_threads(threads)
    source = torch.zeros(COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    rates = {name: round(2e-9 * WIDTH**3 / seconds(run), 1) for name, run in products().items()}
    copied = round(2e-9 * COPIED / seconds(lambda: target.copy_(source)), 1)
    return {"threads": threads, "gflop_per_s": rates, "copy_gb_per_s": copied}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure what this CPU can do at most.")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    output: Path = parser.parse_args().output
    report = {
        "benchmark": "ceilings_cpu",
        "machine": machine("torch"),
        "ceilings": [measure(threads) for threads in (1, 2)],
    }
    for row in report["ceilings"]:
        print(row)
    output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
