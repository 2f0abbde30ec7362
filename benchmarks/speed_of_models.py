"""Two models, or two builds with a model each, encode the same photographs in turns: files in, JSON lines out.

    python benchmarks/speed_of_models.py IMAGES OUT.json BEFORE=VENV[:MODEL] AFTER=VENV[:MODEL] [--rounds 5]

VENV is a virtual environment with an installed build (its base install, nothing else, if that is what is to be
measured), MODEL what `lexlip-encode --model` takes; without one the build's default. A round runs every side once, in
an order that changes, so that a machine that slows down slows all of them. Start-up is counted, as whoever types the
command waits for it; `without_start` is the manifest's own clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import machine, save


def encode(environment: str, model: str, folder: Path) -> dict[str, Any]:
    """One `lexlip-encode` over `folder`: images a second with and without its start, core-seconds of its stages."""
    command = [f"{environment}/bin/lexlip-encode", "--images", str(folder)]
    command += ["--model", model] if model else []
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        subprocess.run(
            [*command, "--output", f"{place}/out"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - start
        manifest = json.loads(Path(place, "out/manifest.json").read_text())
    stages = {name: stage["core_seconds"] for name, stage in manifest["timings"]["stages"].items()}
    images = sum(shard["documents"] for shard in manifest["shards"])
    encoding = images / manifest["timings"]["wall_seconds"]
    return {"images_per_second": images / seconds, "without_start": encoding, "core_seconds": stages}


def main() -> None:
    """Run the rounds, print every one, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("sides", nargs="+", metavar="NAME=VENV[:MODEL]")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sides = {name: place.partition(":")[::2] for name, _, place in (side.partition("=") for side in options.sides)}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for round_ in range(options.rounds):
        for name in list(sides)[:: -1 if round_ % 2 else 1]:
            runs[name].append(encode(*sides[name], options.images))
            print(f"{name}: {runs[name][-1]['images_per_second']:.1f} images/s", flush=True)
    rates = {name: statistics.median(run["images_per_second"] for run in of_side) for name, of_side in runs.items()}
    first = next(iter(rates.values()))
    ratio = {name: rate / first for name, rate in rates.items()}
    facts = machine("numpy", "pillow", "onnxruntime")
    save({"machine": facts, "images_per_second": rates, "ratio": ratio, "runs": runs}, options.report)
    print(json.dumps(rates), json.dumps(ratio))


if __name__ == "__main__":
    main()
