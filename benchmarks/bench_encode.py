"""Images a second from a folder of photographs to part files on disk, and how near that is to what the cores allow.

    python benchmarks/bench_encode.py FOLDER [--model MODEL] [--images N] [--runs N]

The bound is the number of cores divided by the core-seconds that the stages use for one image, measured in the same
run: a pipeline in which no stage ever waits for another, and which costs nothing itself, reaches it. Loading the model
and compiling the quantiser are not inside; reading, decoding, inference, quantising and writing are. Every thread count
has to write the same bytes. The share of the bound holds for as many threads as there are cores, and means nothing
where other processes used them: their share of the machine is in the report. Writes benchmarks/results/encode.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine

from lexlip_infer import LexLIPEncoder
from lexlip_infer.collection.manifest import RunManifest, RunSettings
from lexlip_infer.inputs.readers import open_images
from lexlip_infer.pipeline.progress import Observer
from lexlip_infer.pipeline.run import encode_collection
from lexlip_infer.pipeline.settings import Devices, EncodeRequest, run_settings, share_out
from lexlip_infer.pipeline.stages import PipelineOptions
from lexlip_infer.runtime.machine import thread_count

RESULTS = Path(__file__).parent / "results"
BATCH_SIZE = 16


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        seconds: by the clock.
        core_seconds: of each stage.
        images: encoded.
        digest: of all part files.
        others: share of all cores' time that went to other processes.
    """

    seconds: float
    core_seconds: dict[str, float]
    images: int
    digest: str
    others: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    def bound(self, cores: int) -> float:
        """Images a second, were no core ever idle."""
        stages = sum(seconds for name, seconds in self.core_seconds.items() if name != "other")
        return cores * self.images / stages


class Folder:
    """The first images of a folder, as a reader."""

    passed_over = ""

    def __init__(self, folder: Path, count: int) -> None:
        self._reader = open_images([str(folder)])
        self.count = count

    def __iter__(self) -> Any:
        return (item for _, item in zip(range(self.count), self._reader, strict=False))


def settings_of(devices: Devices) -> RunSettings:
    """As `lexlip-encode` would choose them."""
    return run_settings(devices, EncodeRequest(modality="image", source=[""]))


def measure(devices: Devices, reader: Folder) -> Measured:
    """One run into a new folder."""
    options = PipelineOptions(BATCH_SIZE, devices.lanes, devices.threads)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        busy, ours, started = busy_seconds(), own_seconds(), time.perf_counter()
        manifest = encode_collection(devices.encoders, reader, output, settings_of(devices), options, Observer())
        seconds = time.perf_counter() - started
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(output.glob("vectors/*")))).hexdigest()
    others = (busy_seconds() - busy - own_seconds() + ours) / (seconds * (os.cpu_count() or 1))
    return Measured(seconds, core_seconds(manifest), manifest.documents, digest, max(0.0, others))


def busy_seconds() -> float:
    """Core-seconds of all processes since the system started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]]
    idle, waiting_for_disk = ticks[3:5]
    return (sum(ticks[:8]) - idle - waiting_for_disk) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Core-seconds of this process and of the workers that have ended."""
    return sum(os.times()[:4])


def core_seconds(manifest: RunManifest) -> dict[str, float]:
    """Of each stage."""
    assert manifest.timings is not None
    return {name: stage.core_seconds for name, stage in manifest.timings.stages.items()}


def report(threads: int, runs: list[Measured]) -> dict[str, object]:
    """Medians over runs."""
    stages = runs[0].core_seconds
    per_image = {name: statistics.median(run.core_seconds[name] / run.images for run in runs) for name in stages}
    rate = statistics.median(run.rate for run in runs)
    bound = statistics.median(run.bound(threads) for run in runs)
    share = (per_image["quantise"] + per_image["write"]) / sum(per_image.values())
    others = statistics.median(run.others for run in runs)
    print(f"{threads} threads: {rate:.1f} images/s, {rate / bound:.0%} of the bound of {bound:.1f}; ", end="")
    print(", ".join(f"{name} {1e3 * seconds:.3f}" for name, seconds in per_image.items()), "core-ms an image; ", end="")
    print(f"quantising and writing {share:.1%}; others used {others:.0%} of the machine")
    return {
        "threads": threads,
        "images_per_s": round(rate, 1),
        "bound_images_per_s": round(bound, 1),
        "of_bound": round(rate / bound, 3),
        "core_ms_per_image": {name: round(1e3 * seconds, 3) for name, seconds in per_image.items()},
        "quantise_and_write_share": round(share, 4),
        "machine_used_by_others": round(others, 3),
    }


def main() -> None:
    """Measure every thread count in turn, several times over, and report medians."""
    parser = argparse.ArgumentParser(description="Time encoding of photographs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="bundle; default: the shipped one")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    reader = Folder(arguments.folder, arguments.images)
    counts = range(1, thread_count(None) + 1)
    devices = {
        threads: share_out([LexLIPEncoder.from_pretrained(arguments.model, threads=threads)], "image")
        for threads in counts
    }
    runs: dict[int, list[Measured]] = {threads: [] for threads in counts}
    for run in range(arguments.runs + 1):
        for threads, each in devices.items():
            measured = measure(each, reader)
            if run > 0:  # the first loads graphs and compiled kernels
                runs[threads].append(measured)
    assert len({run.digest for several in runs.values() for run in several}) == 1, "not the same bytes"
    record: dict[str, object] = {"benchmark": "encode", "model": arguments.model or "lexlip-tiny"}
    record |= {"images": arguments.images, "runs": arguments.runs, "batch_size": BATCH_SIZE}
    record["results"] = [report(threads, several) for threads, several in runs.items()]
    record["machine"] = machine("onnxruntime") | {"load_average_1min_at_end": round(os.getloadavg()[0], 2)}
    (RESULTS / "encode.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
