"""`python -m lexlip_infer.bench.worker`: one measurement in a process of its own, so that its peak memory is its own.

A `Job` comes in on standard input, a `Sample` goes out on standard output as the last line. An error of ours is one
line on standard error and status 2.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.pipelined import Pipelined, run_pipelined
from lexlip_infer.bench.sequential import Sequential, run_sequential
from lexlip_infer.bench.settings import Job
from lexlip_infer.errors import BackendUnavailable, LexLIPError

__all__ = ["Sample", "measure", "run_worker"]


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
    return sample.model_copy(update={"peak_rss_mb": _peak_rss_mb(), "device_memory_mb": device})


def _peak_rss_mb() -> float:
    """Not `ru_maxrss`, which begins with the peak of the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None, "Linux has it"
    return round(int(found[1]) * 1024 / 1e6, 1)


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
