"""Peak memory of encoding many images against that of few: it has to be the same.

    python benchmarks/bench_memory.py [--few 5000] [--many 100000] [--model MODEL]

Small generated JPEGs, as many files as `--few`; the others are further names of them, so that the disk need not hold
them all. Each run is a process of its own, and the peak is the largest of it and of its decode workers, the ring of
pixels included. Writes benchmarks/results/memory.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_encode import ENTRY
from harness import RESULTS, Report, finish, machine, options
from PIL import Image


def generate(folder: Path, count: int) -> None:
    """Small JPEGs, every fiftieth of them cut short."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(path)
        if number % 50 == 7:
            path.write_bytes(path.read_bytes()[:-200])


def measure(folder: Path, output: Path, model: str | None) -> dict[str, int]:
    """Encode a folder; images and peak in MiB."""
    command = [sys.executable, "-c", ENTRY, "--images", str(folder), "--output", str(output)]
    command += ["--items-per-shard", "1000", *(["--model", model] if model else [])]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
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
