"""What the scripts of this folder share: taking turns, memory, the record that every one of them leaves.

A record names the machine and the versions (`lexlip_infer.bench.machine`), is written whole or not at all, and is the
last line that a script prints.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lexlip_infer.bench.machine import machine_info, memory
from lexlip_infer.files import write_whole

RESULTS = Path(__file__).parent / "results"
Report = dict[str, Any]
Name = TypeVar("Name", bound=Hashable)
machine = machine_info


def options(description: str, record: str | None = None) -> argparse.ArgumentParser:
    """A command line; with `record`, the name of a file in `results/`, it has --output."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    if record is not None:
        parser.add_argument("--output", type=Path, default=RESULTS / record, help="of the record")
    return parser


def seconds_in_turn(
    work: Mapping[Name, Callable[[], object]], rounds: int, warm_up: int = 1, pause: float = 0.0
) -> dict[Name, list[float]]:
    """Seconds of wall clock by contestant and round; in turn, so that a busy spell of the machine meets all alike.

    Args:
        work: what each does.
        rounds: that count.
        warm_up: rounds before them, in which kernels are compiled and memory is touched.
        pause: seconds before each, until the threads of the one before have stopped waiting for work.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in work}
    for number in range(-warm_up, rounds):
        for name, run in work.items():
            time.sleep(pause)
            started = time.perf_counter()
            run()
            if number >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def spread(seconds: list[float], items: int, of: str) -> dict[str, float]:
    """Median, fastest and slowest, in milliseconds an item; `of` is what an item is called."""
    each = {"median": float(np.median(seconds)), "min": min(seconds), "max": max(seconds)}
    return {f"{name}_ms_per_{of}": round(value * 1e3 / items, 4) for name, value in each.items()}


def memory_mb(name: str) -> float:
    """Memory of this process, "peak" or "resident", in 10^6 bytes; mapped files that are in it count."""
    return round(memory()[name] / 1e6, 1)


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def save(report: Report, path: Path) -> None:
    """Whole or not at all."""
    if not path.parent.is_dir():
        sys.exit(f"{path.parent}: no such folder; name another file for --output")
    write_whole(path, json.dumps(report, indent=1).encode() + b"\n")


def finish(report: Report, path: Path) -> None:
    """Keep the record, and print it."""
    save(report, path)
    print("\n" + json.dumps(report))
