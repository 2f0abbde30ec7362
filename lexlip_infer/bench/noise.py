"""Whether this machine is quiet enough to time anything: its load, and how evenly a loop that never changes runs."""

from __future__ import annotations

import os
import time

import numpy as np
from pydantic import BaseModel, ConfigDict

from lexlip_infer.runtime.threads import thread_count

__all__ = ["Noise", "listen"]

#: Share of the cores that others may use, and spread of the loop, before a warning.
_LOAD, _SPREAD = 0.25, 0.05
_LOOPS = 40


class Noise(BaseModel):
    """What was heard.

    Attributes:
        load_average_1min: processes that wanted a core, over the last minute.
        spread: of the calibration loop, (90 % quantile - 10 % quantile) / median.
        warnings: for people; none on a quiet machine.
    """

    model_config = ConfigDict(frozen=True)

    load_average_1min: float
    spread: float
    warnings: list[str]


def listen(loops: int = _LOOPS) -> Noise:
    """Take a quarter of a second, on one core, to find out. Call it while nothing of ours runs."""
    load, cores = os.getloadavg()[0], thread_count(None)
    spread = _spread(loops)
    warnings = []
    if load > _LOAD * cores:
        warnings.append(f"a load of {load:.2f} on {cores} cores: other processes take part of what is measured")
    if spread > _SPREAD:
        warnings.append(f"a loop that never changes varies by {spread:.0%}: expect as much of every figure")
    return Noise(load_average_1min=round(load, 2), spread=round(spread, 4), warnings=warnings)


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
