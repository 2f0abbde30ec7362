"""Whether this machine is quiet enough to time anything: who else computes, and how evenly a fixed loop runs.

The load average does not tell: after a benchmark it is the benchmark's own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

__all__ = ["Noise", "listen"]

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
