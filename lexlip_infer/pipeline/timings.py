"""Where a run's time goes: what each stage used of a core, and how long it waited for the stage before it.

Core-seconds are the processor's, as the system counts them for a thread: they hold on a busy machine too, where seconds
by the clock do not. A run is as fast as it can be when seconds by the clock are the sum of core-seconds over the cores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lexlip_infer.collection.manifest import RunTimings, StageTimings

__all__ = ["STAGES", "Timings"]

#: In the order of the data. "other" is what the process used besides: threads inside of ONNX Runtime, and ourselves.
STAGES = ("read", "decode", "infer", "quantise", "write", "other")

Item = TypeVar("Item")


class Timings:
    """Sums by stage, from any thread; the clock starts when it is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._core = dict.fromkeys(STAGES, 0.0)
        self._waiting = dict.fromkeys(STAGES, 0.0)
        self._elsewhere = 0.0
        self._started = time.perf_counter()
        self._used_before = time.process_time()

    def add(self, stage: str, core: float = 0.0, waiting: float = 0.0, elsewhere: bool = False) -> None:
        """Count seconds; `elsewhere` says that they were used in another process."""
        with self._lock:
            self._core[stage] += core
            self._waiting[stage] += waiting
            self._elsewhere += core if elsewhere else 0.0

    @contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """Count what this thread uses of a core while the block runs."""
        started = time.thread_time()
        try:
            yield
        finally:
            self.add(stage, core=time.thread_time() - started)

    @contextmanager
    def waiting(self, stage: str) -> Iterator[None]:
        """Count the time by the clock that the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, waiting=time.perf_counter() - started)

    def following(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; what it takes to get at each is counted."""
        iterator = iter(items)
        while True:
            with self.working(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def record(self, before: RunTimings | None = None) -> RunTimings:
        """Everything so far, on top of what earlier runs into the same folder took."""
        with self._lock:
            core, waiting = dict(self._core), dict(self._waiting)
            ours = sum(core.values()) - self._elsewhere
        core["other"] += max(0.0, time.process_time() - self._used_before - ours)
        wall = time.perf_counter() - self._started
        if before is not None:
            wall += before.wall_seconds
            for name, stage in before.stages.items():
                core[name] += stage.core_seconds
                waiting[name] += stage.waiting_seconds
        return _record(wall, core, waiting)


def _record(wall: float, core: dict[str, float], waiting: dict[str, float]) -> RunTimings:
    total = sum(core.values()) or 1.0
    stages = {
        name: StageTimings(
            core_seconds=round(core[name], 4),
            share=round(core[name] / total, 4),
            waiting_seconds=round(waiting[name], 4),
        )
        for name in STAGES
    }
    return RunTimings(wall_seconds=round(wall, 3), stages=stages)
