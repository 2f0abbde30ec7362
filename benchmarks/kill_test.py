"""Kill `lexlip-encode` at random moments, start it again each time, and compare what it ends with.

    python benchmarks/kill_test.py [--kills 50] [--images 3000] [--model MODEL] [--seed 0]

Images are generated, some of them damaged. An uninterrupted run shows how long encoding takes and what it writes; then
runs into other folders get SIGKILL at random moments, until so many kills have hit, and the last run is let through.
Part files and failures have to be the same bytes, no worker may be left behind, and no kill may have lost a finished
part. Nothing is timed here.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from harness import options
from PIL import Image

ENTRY = "from lexlip_infer.cli.encode import run; run()"
FINISHED = (0, 3)

Run = Callable[[Path], "subprocess.Popen[bytes]"]


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


def start(
    images: Path, output: Path, *, model: str | None, per_shard: int, quiet: bool = False
) -> subprocess.Popen[bytes]:
    """The command, in a group of its own."""
    command = [sys.executable, "-c", ENTRY, "--images", str(images), "--output", str(output)]
    command += ["--items-per-shard", str(per_shard), *(["--model", model] if model else [])]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL if quiet else subprocess.PIPE, process_group=0)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run that is let through."""
    _, stderr = process.communicate()
    if process.returncode not in FINISHED:
        sys.exit(f"the run ended with {process.returncode}: {stderr.decode()}")


def survivors(group: int) -> list[int]:
    """Processes of a group that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = stat.read_text(encoding="utf-8").split(" ", 1)
        except OSError:
            continue
        state, _, process_group = rest.rsplit(") ", 1)[1].split()[:3]
        if int(process_group) == group and state != "Z":
            found.append(int(number))
    return found


def finished_parts(output: Path) -> int:
    """That the manifest lists."""
    path = output / "manifest.json"
    return len(json.loads(path.read_bytes())["shards"]) if path.exists() else 0


def results(output: Path) -> dict[str, bytes]:
    """Part files and failures."""
    files = [*output.glob("vectors/*"), output / "failures.jsonl"]
    return {path.name: path.read_bytes() for path in files}


def kill_one(run: Run, output: Path, delay: float, at_work: bool) -> bool:
    """Start a run and kill it after a while, counted from its first new part or from its start; whether it lived."""
    before = finished_parts(output)
    process = run(output)
    while at_work and process.poll() is None and finished_parts(output) == before:
        time.sleep(0.001)
    time.sleep(delay)
    hit = process.poll() is None
    process.kill()
    process.communicate()
    if finished_parts(output) < before:
        sys.exit("a finished part is lost")
    deadline = time.monotonic() + 60
    while left := survivors(process.pid):
        if time.monotonic() > deadline:
            sys.exit(f"left behind: {left}")
        time.sleep(0.05)
    return hit


def main() -> None:
    """Kill, compare, say so."""
    parser = options("Kill lexlip-encode again and again.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "in", arguments.images)
        per_shard = max(1, arguments.images // 200)
        run = partial(start, folder / "in", model=arguments.model, per_shard=per_shard)
        finish(run(folder / "whole"))
        kill_all(run, folder, arguments.kills, random.Random(arguments.seed))  # noqa: S311  (no cryptography)


def kill_all(run: Run, folder: Path, kills: int, chance: random.Random) -> None:
    """As often as asked for, in as many folders as that takes; each is then finished and compared with the whole."""
    manifest = json.loads((folder / "whole" / "manifest.json").read_bytes())
    seconds, total = manifest["timings"]["wall_seconds"], len(manifest["shards"])
    parts: list[list[int]] = []
    while sum(map(len, parts)) < kills:
        output = folder / f"killed-{len(parts)}"
        parts.append([])
        # One kill in five comes at any moment, most of them while Python starts; the others while images are encoded.
        while sum(map(len, parts)) < kills and kill_one(
            run, output, chance.uniform(0, seconds / 8), chance.random() < 0.8
        ):
            parts[-1].append(finished_parts(output))
        finish(run(output))
        if results(output) != results(folder / "whole"):
            sys.exit(f"after {parts} the bytes differ")
    print(f"{kills} kills, with so many of {total} parts finished: {parts}; the bytes are equal, and nobody is left")


if __name__ == "__main__":
    main()
