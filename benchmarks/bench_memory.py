"""Peak memory of encoding many images against that of few: it has to be the same.

    python benchmarks/bench_memory.py [--few 5000] [--many 100000] [--model MODEL]

Small generated JPEGs, as many files as `--few`; the larger run reads them again and again under new ids, so that the
disk need not hold them all. Each run is a process of its own; the peak is the system's, of that process (the ring of
pixels included) and, apart, of its largest decode worker. Writes benchmarks/results/memory.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kill_test import generate
from machine import machine

RESULTS = Path(__file__).parent / "results"


class Repeated:
    """Files of a folder, again and again, under new ids."""

    passed_over = ""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        self._folder = folder

    def __iter__(self) -> Iterator[object]:
        from lexlip_infer.inputs.items import ImageItem

        names = sorted(path.name for path in self._folder.iterdir())
        for number in range(self.count):
            path = self._folder / names[number % len(names)]
            yield ImageItem(f"{number:09d}.jpg", str(path), path, path.stat().st_size)


def encode(folder: Path, count: int, model: str | None) -> None:
    """In this process; prints the peaks in KiB."""
    from bench_encode import settings_of

    from lexlip_infer import LexLIPEncoder
    from lexlip_infer.pipeline.progress import Observer
    from lexlip_infer.pipeline.run import encode_collection
    from lexlip_infer.pipeline.settings import share_out
    from lexlip_infer.pipeline.stages import PipelineOptions

    devices = share_out([LexLIPEncoder.from_pretrained(model)], "image")
    options = PipelineOptions(16, devices.lanes, devices.threads)
    with tempfile.TemporaryDirectory() as output:
        settings = settings_of(devices).model_copy(update={"items_per_shard": 1000})
        reader = Repeated(folder, count)
        manifest = encode_collection(devices.encoders, reader, Path(output) / "out", settings, options, Observer())
        assert manifest.documents + manifest.failed == count
    own, workers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"images": count, "peak_mib": own // 1024, "worker_peak_mib": workers // 1024}))


def measure(folder: Path, count: int, model: str | None) -> dict[str, int]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--folder", str(folder), "--count", str(count)]
    command += ["--model", model] if model else []
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, int] = json.loads(done.stdout)
    print(result, flush=True)
    return result


def main() -> None:
    """Measure both, compare, write."""
    parser = argparse.ArgumentParser(description="Peak memory of encoding few and many images.")
    parser.add_argument("--few", type=int, default=5000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--model")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        encode(arguments.folder, arguments.count, arguments.model)
        return
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name) / "in", arguments.few)
        few, many = (measure(Path(name) / "in", count, arguments.model) for count in (arguments.few, arguments.many))
    growth = many["peak_mib"] / few["peak_mib"] - 1
    print(f"peak of {many['images']:,} images against {few['images']:,}: {growth:+.1%}")
    record = {"benchmark": "memory", "model": arguments.model or "lexlip-tiny", "few": few, "many": many}
    record |= {"growth": round(growth, 4), "machine": machine("onnxruntime")}
    (RESULTS / "memory.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
