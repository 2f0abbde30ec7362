"""`python -m lexlip_infer.bench.worker`: one measurement in a process of its own, so that its peak memory is its own.

A `Job` comes in on standard input, a `Sample` goes out on standard output as the last line. An error of ours is one
line on standard error and status 2.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.inputs import open_inputs
from lexlip_infer.bench.machine import memory
from lexlip_infer.bench.settings import Job
from lexlip_infer.bench.stages import Sequential, run_sequential
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import BackendUnavailable, InputError, LexLIPError
from lexlip_infer.pipeline.progress import Observer
from lexlip_infer.pipeline.run import encode_collection
from lexlip_infer.pipeline.settings import Devices, EncodeRequest, pipeline_options, run_settings, share_out


class Pipelined(BaseModel):
    """What a run took.

    Attributes:
        wall_seconds: from the first file to the last byte on the disk; loading the model is not inside.
        items: that were encoded.
        lanes: batches that were inferred at the same time.
    """

    model_config = ConfigDict(frozen=True)

    wall_seconds: float
    items: int
    lanes: int


def run_pipelined(job: Job, folder: Path) -> Pipelined:
    """Measure a job, after a small run that loads what the first batch loads.

    Args:
        job: what.
        folder: empty, for the outputs.

    Raises:
        LexLIPError: the model cannot run so, or an input cannot be encoded.
    """
    encoder = LexLIPEncoder(LexLIPEncoder.from_pretrained(job.model).bundle, job.setting.options)
    devices = share_out([encoder], job.setting.modality)
    _encode(devices, job, devices.lanes * job.setting.batch_size, folder / "warm")
    wall = _encode(devices, job, job.items, folder / "out")
    return Pipelined(wall_seconds=wall, items=job.items, lanes=devices.lanes)


def _encode(devices: Devices, job: Job, count: int, output: Path) -> float:
    reader = open_inputs(job.setting.modality, job.inputs, count)
    modality, batch_size = job.setting.modality, job.setting.batch_size
    request = EncodeRequest(modality=modality, source=[str(job.inputs)], batch_size=batch_size)
    settings, options = run_settings(devices, request), pipeline_options(devices, request)
    started = time.perf_counter()
    manifest = encode_collection(devices.encoders, reader, output, settings, options, Observer())
    wall = time.perf_counter() - started
    if manifest.failed:
        raise InputError(
            f"{job.inputs}: inputs that cannot be encoded: {manifest.failed}; measure without them: "
            "lexlip-encode lists them"
        )
    return wall


class Sample(BaseModel):
    """What one process found.

    Attributes:
        sequential: of a job in that mode.
        pipelined: of the other.
        peak_rss_mb: most memory of the process at any time, loading included, in 10^6 bytes; decode workers are others.
        device_memory_mb: taken on the GPU at the end; ONNX Runtime keeps what it once took. None on a CPU.
    """

    model_config = ConfigDict(frozen=True)

    sequential: Sequential | None = None
    pipelined: Pipelined | None = None
    peak_rss_mb: float = 0.0
    device_memory_mb: float | None = None


def run_worker(job: Job) -> Sample:
    """Measure a job in a new process.

    Raises:
        BackendUnavailable: that process says why it cannot, or died.
    """
    command = [sys.executable, "-m", "lexlip_infer.bench.worker"]
    done = subprocess.run(command, input=job.model_dump_json(), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"the process ended with status {done.returncode}"]
        raise BackendUnavailable(lines[-1])
    return Sample.model_validate_json(done.stdout.splitlines()[-1])


def measure(job: Job) -> Sample:
    """Measure a job in this process.

    Raises:
        LexLIPError: the model cannot run so, or an input cannot be encoded.
    """
    memory_before = _device_memory(job.setting.device)
    with tempfile.TemporaryDirectory() as folder:
        if job.mode == "sequential":
            sample = Sample(sequential=run_sequential(job, Path(folder) / "lines.jsonl"))
        else:
            sample = Sample(pipelined=run_pipelined(job, Path(folder)))
    taken = _device_memory(job.setting.device)
    device = None if memory_before is None or taken is None else taken - memory_before
    return sample.model_copy(update={"peak_rss_mb": round(memory()["peak"] / 1e6, 1), "device_memory_mb": device})


def _device_memory(device: str) -> float | None:
    """Of the whole GPU, as its driver counts, in 10^6 bytes: torch and ONNX Runtime know only their own part."""
    if not device.startswith("cuda"):
        return None
    number = device.partition(":")[2] or "0"
    query = ["nvidia-smi", f"--id={number}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:  # a GPU without its driver's tool, as in some containers
        return None
    return float(done.stdout) * 2**20 / 1e6 if done.returncode == 0 else None


def _main() -> int:
    try:
        sample = measure(Job.model_validate_json(sys.stdin.read()))
    except LexLIPError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(sample.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(_main())
