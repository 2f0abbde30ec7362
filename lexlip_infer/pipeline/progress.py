"""How a run goes: who is told of it, and where its time goes.

Core-seconds are the processor's, as the system counts them for a thread: they hold on a busy machine too, where seconds
by the clock do not. A run is as fast as it can be when seconds by the clock are the sum of core-seconds over the cores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from lexlip_infer.collection.manifest import PartRecord, RunTimings, StageTimings
from lexlip_infer.collection.part_file import Failure


class Observer:
    """Wants to know how a run goes: a progress bar, a log, a test; this one does not.

    Told from the thread that runs the pipeline; counts include what earlier runs into the same folder did.
    """

    def started(self, done: int, failed: int, total: int | None) -> None:
        """The run begins: `total` items are to do in all, if that is known, `done` are behind us, `failed` of them."""

    def advanced(self, done: int, failed: int) -> None:
        """A batch was written."""

    def failure(self, failure: Failure) -> None:
        """An input gave no vector."""

    def truncated(self, note: Failure) -> None:
        """An image breaks off and was accepted."""

    def shard(self, record: PartRecord) -> None:
        """A part file is finished."""


#: In the order of the data. "other" is what the process used besides: threads inside of ONNX Runtime, and ourselves.
STAGES = ("read", "decode", "infer", "quantise", "write", "other")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where seconds come from.

    Attributes:
        wall: by the clock.
        thread: that this thread has used of a core.
        process: that all threads of this process have.
    """

    wall: Callable[[], float] = time.perf_counter
    thread: Callable[[], float] = time.thread_time
    process: Callable[[], float] = time.process_time


class Timings:
    """Sums by stage, from any thread; the clock starts when it is made."""

    def __init__(self, clocks: Clocks | None = None) -> None:
        self._clocks = clocks or Clocks()
        self._lock = threading.Lock()
        self._core = dict.fromkeys(STAGES, 0.0)
        self._waiting = dict.fromkeys(STAGES, 0.0)
        self._elsewhere = 0.0
        self._started = self._clocks.wall()
        self._used_before = self._clocks.process()

    def add(self, stage: str, core: float = 0.0, waiting: float = 0.0, elsewhere: bool = False) -> None:
        """Count seconds; `elsewhere` says that they were used in another process."""
        with self._lock:
            self._core[stage] += core
            self._waiting[stage] += waiting
            self._elsewhere += core if elsewhere else 0.0

    @contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """Count what this thread uses of a core while the block runs."""
        started = self._clocks.thread()
        try:
            yield
        finally:
            self.add(stage, core=self._clocks.thread() - started)

    @contextmanager
    def waiting(self, stage: str) -> Iterator[None]:
        """Count the time by the clock that the block takes."""
        started = self._clocks.wall()
        try:
            yield
        finally:
            self.add(stage, waiting=self._clocks.wall() - started)

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
        core["other"] += max(0.0, self._clocks.process() - self._used_before - ours)
        wall = self._clocks.wall() - self._started
        if before is not None:
            wall += before.wall_seconds
            for name, stage in before.stages.items():
                if name not in core:
                    continue  # no stage of this version
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
