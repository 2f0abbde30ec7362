"""Peak memory of encoding many images against that of few: it has to be the same.

    python benchmarks/bench_memory.py [--few 5000] [--many 100000] [--model MODEL]

Small generated JPEGs, as many files as `--few`; the others are further names of them, so that the disk need not hold
them all. Each run is a process of its own, and the peak is the largest of it and of its decode workers, the ring of
pixels included. Writes benchmarks/results/memory.json.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from harness import RESULTS, Report, finish, machine, options
from kill_test import generate, start


def measure(folder: Path, output: Path, model: str | None) -> dict[str, int]:
    """Encode a folder; images and peak in MiB."""
    process = start(folder, output, model=model, per_shard=1000, quiet=True)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        sys.exit(f"the run ended with {status}")
    found = {"images": sum(1 for _ in folder.iterdir()), "peak_mib": usage.ru_maxrss // 1024}
    print(found, flush=True)
    return found


def main() -> None:
    """Measure both, compare, write."""
    parser = options("Peak memory of encoding few and many images.")
    parser.add_argument("--few", type=int, default=5000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--model")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        generate(root / "few", given.few)
        (root / "many").mkdir()
        names = sorted(path.name for path in (root / "few").iterdir())
        for number in range(given.many):
            os.link(root / "few" / names[number % len(names)], root / "many" / f"{number:09d}.jpg")
        few, many = (measure(root / size, root / f"{size}-out", given.model) for size in ("few", "many"))
    growth = many["peak_mib"] / few["peak_mib"] - 1
    print(f"peak of {many['images']:,} images against {few['images']:,}: {growth:+.1%}")
    record: Report = {"benchmark": "memory", "model": given.model or "lexlip-tiny", "few": few, "many": many}
    finish(record | {"growth": round(growth, 4), "machine": machine("onnxruntime")}, RESULTS / "memory.json")


if __name__ == "__main__":
    main()
