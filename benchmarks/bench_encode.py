"""Images a second from a folder of photographs to part files on disk, and how near that is to what the cores allow.

    python benchmarks/bench_encode.py FOLDER [--model MODEL] [--images N] [--runs N]

`lexlip-encode` runs with every number of threads in turn, and its manifest says where the time went. The bound is the
number of cores divided by the core-seconds that the stages use for one image, measured in the same run: a pipeline in
which no stage ever waits for another, and which costs nothing itself, reaches it. Loading the model is not inside; half
a second for the compiled quantiser is, as in every run: take many images. Every number of threads has to write the same
bytes. The share of the bound holds for as many threads as there are cores, and means nothing where other
processes used them: see `noise` in the record. Writes benchmarks/results/encode.json.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import RESULTS, Report, finish, machine, options, say

from lexlip_infer.bench.machine import listen
from lexlip_infer.runtime.machine import thread_count

ENTRY = "from lexlip_infer.cli.encode import run; run()"


def encode(images: Path, threads: int, model: str | None) -> Report:
    """One run into a new folder: timings of its manifest, number of images, digest of all part files."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        command = [sys.executable, "-c", ENTRY, "--images", str(images), "--output", str(output)]
        command += ["--threads", str(threads), *(["--model", model] if model else [])]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        manifest = json.loads((output / "manifest.json").read_bytes())
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(output.glob("vectors/*")))).hexdigest()
    timings, documents = manifest["timings"], sum(part["documents"] for part in manifest["shards"])
    per_image = {name: stage["core_seconds"] / documents for name, stage in timings["stages"].items()}
    return {"rate": documents / timings["wall_seconds"], "core_seconds": per_image, "digest": digest}


def summary(threads: int, runs: list[Report]) -> Report:
    """Medians over runs."""
    per_image = {name: statistics.median(run["core_seconds"][name] for run in runs) for name in runs[0]["core_seconds"]}
    rate = statistics.median(run["rate"] for run in runs)
    bound = threads / sum(seconds for name, seconds in per_image.items() if name != "other")
    share = (per_image["quantise"] + per_image["write"]) / sum(per_image.values())
    print(f"{threads} threads: {rate:.1f} images/s, {rate / bound:.0%} of the bound of {bound:.1f}; ", end="")
    print(", ".join(f"{name} {1e3 * seconds:.3f}" for name, seconds in per_image.items()), "core-ms an image; ", end="")
    print(f"quantising and writing {share:.1%}")
    return {
        "threads": threads,
        "images_per_s": round(rate, 1),
        "bound_images_per_s": round(bound, 1),
        "of_bound": round(rate / bound, 3),
        "core_ms_per_image": {name: round(1e3 * seconds, 3) for name, seconds in per_image.items()},
        "quantise_and_write_share": round(share, 4),
    }


def main() -> None:
    """Measure every number of threads in turn, several times over, and report medians."""
    parser = options("Time encoding of photographs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="bundle; default: the shipped one")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    counts, noise = range(1, thread_count(None) + 1), [listen()]
    runs: dict[int, list[Report]] = {threads: [] for threads in counts}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as chosen:
        files = sorted(path for path in given.folder.absolute().rglob("*") if path.is_file())
        chosen.writelines(f"{path}\n" for path in files[: given.images])
        chosen.flush()
        for run, threads in itertools.product(range(given.runs), counts):
            say(f"run {run + 1} of {given.runs}, {threads} threads")
            runs[threads].append(encode(Path(chosen.name), threads, given.model))
    assert len({run["digest"] for several in runs.values() for run in several}) == 1, "not the same bytes"
    record: Report = {"benchmark": "encode", "model": given.model or "lexlip-tiny", "images": given.images}
    record |= {"runs": given.runs, "results": [summary(threads, several) for threads, several in runs.items()]}
    record |= {"machine": machine("onnxruntime"), "noise": [each.model_dump() for each in (*noise, listen())]}
    finish(record, RESULTS / "encode.json")


if __name__ == "__main__":
    main()
