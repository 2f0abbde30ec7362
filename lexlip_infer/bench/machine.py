"""What a figure depends on besides the code: processor, memory, versions, and whether anybody else computes.

Every report carries it. The load average does not tell who else computes: after a benchmark it is the benchmark's own.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from lexlip_infer.runtime.machine import thread_count

#: Recorded where they are installed.
_PACKAGES = (
    "lexlip-infer",
    "numpy",
    "numba",
    "pillow",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "transformers",
    "sentence-transformers",
    "triton",
)


def machine_info(*packages: str) -> dict[str, object]:
    """The machine, its load, and the versions of what runs on it; holds no name of the host or of a user.

    Args:
        packages: whose versions are wanted by their own names too, None where one is not installed.

    Returns:
        `cpu` (name), `cpus` (cores of the machine), `cpus_usable` (by this process), `memory_gb`, `gpus`,
        `load_average_1min`, `kernel`, `python`, `packages` (versions by name, installed ones only) and `revision` (of
        the checkout that this package lies in, with a "+" where it was changed; None outside of one). All of it can be
        written as JSON.
    """
    return {
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "cpus_usable": thread_count(None),
        "memory_gb": _memory_gb(),
        "gpus": _gpus(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := package_version(name)) is not None},
        "revision": _revision(),
        **{name: package_version(name) for name in packages},
    }


def processor() -> str:
    """The CPU's name, as the system gives it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory_gb() -> float:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)


def _gpus() -> list[str]:
    """Names, as the driver's own tool gives them; none where there is no driver."""
    return _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines()


def package_version(package: str) -> str | None:
    """Of an installed distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Only of our own checkout: an installed package may lie inside somebody else's."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    revision = _output(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]).strip()
    changed = _output(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"]).strip()
    return f"{revision}{'+' * bool(changed)}" if revision else None


def _output(command: list[str]) -> str:
    """What a tool prints; nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  (our own two)
    except (OSError, subprocess.CalledProcessError):
        return ""


#: Cores that others may use, and spread of the loop, before a warning.
_OTHERS, _SPREAD = 0.25, 0.05
_LOOPS = 80
#: Columns of a `cpuN` line of /proc/stat in which the core is somebody's: user, nice, system, irq, softirq, steal.
_BUSY = (1, 2, 3, 6, 7, 8)


class Noise(BaseModel):
    """What was heard.

    Attributes:
        cores_of_others: used by other processes or taken by other machines of the host, meanwhile; None where the
            system does not tell.
        spread: of the calibration loop, (90 % quantile - 10 % quantile) / median.
        warnings: for people; none on a quiet machine.
    """

    model_config = ConfigDict(frozen=True)

    cores_of_others: float | None
    spread: float
    warnings: list[str]


def listen(loops: int = _LOOPS) -> Noise:
    """Take half a second, on one core, to find out. Call it while nothing of ours runs."""
    before, ours, started = _busy_seconds(), time.process_time(), time.perf_counter()
    spread = _spread(loops)
    after, ours, passed = _busy_seconds(), time.process_time() - ours, time.perf_counter() - started
    others = None if before is None or after is None else round(max(0.0, after - before - ours) / passed, 2)
    warnings = []
    if others is not None and others > _OTHERS:
        warnings.append(f"{others:.1f} cores are busy with other things than what is measured")
    if spread > _SPREAD:
        warnings.append(f"a loop that never changes varies by {spread:.0%}: expect as much of every figure")
    return Noise(cores_of_others=others, spread=round(spread, 4), warnings=warnings)


def _busy_seconds() -> float | None:
    """Of all cores that this process may use, since the machine started."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    except (OSError, AttributeError):  # not Linux
        return None
    rows = [line.split() for line in lines if line.split(" ", 1)[0] in cores]
    return sum(int(row[column]) for row in rows for column in _BUSY) / os.sysconf("SC_CLK_TCK")


def _spread(loops: int) -> float:
    values = np.arange(200_000, dtype=np.float64)
    times = []
    for _ in range(loops):
        started = time.perf_counter()
        for _ in range(20):
            float(np.sqrt(values).sum())
        times.append(time.perf_counter() - started)
    low, median, high = np.quantile(times, [0.1, 0.5, 0.9])
    return float((high - low) / median)


_FIELDS = {"VmHWM": "peak", "VmRSS": "resident", "RssAnon": "anonymous"}


def memory() -> dict[str, int]:
    """Bytes of this process.

    Returns:
        `peak` and present `resident` memory, and the `anonymous` part of the latter: the rest are pages of mapped
        files, which the system takes back when it needs them.
    """
    found = {}
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in _FIELDS:
            found[_FIELDS[name]] = int(rest.split()[0]) * 1024
    return found


def children_peak() -> int:
    """Largest resident memory of any child process that has ended, in bytes; 0 where there was none."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
