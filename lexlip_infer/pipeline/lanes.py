"""Inference lanes: threads that each take a batch through a model.

One session with few threads of its own, called by several lanes at once, keeps cores busier than one call with many
threads: those wait for each other at the end of every operator, a lane waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from lexlip_infer.encoder import LexLIPEncoder

__all__ = ["Lanes"]

Result = TypeVar("Result")


class Lanes:
    """A number of lanes on each of several encoders, which hold the same model on different devices.

    Args:
        encoders: one a device.
        each: lanes of one encoder.
    """

    def __init__(self, encoders: Sequence[LexLIPEncoder], each: int) -> None:
        self.count = len(encoders) * each
        self._idle: SimpleQueue[LexLIPEncoder] = SimpleQueue()
        for encoder in [*encoders] * each:
            self._idle.put(encoder)
        self._threads = ThreadPoolExecutor(self.count, "infer")

    def submit(self, work: Callable[[LexLIPEncoder], Result]) -> Future[Result]:
        """Do some work with whichever encoder is free, after what was submitted before."""
        return self._threads.submit(self._run, work)

    def close(self) -> None:
        """Wait for what is running; cancel the rest."""
        self._threads.shutdown(cancel_futures=True)

    def _run(self, work: Callable[[LexLIPEncoder], Result]) -> Result:
        encoder = self._idle.get()
        try:
            return work(encoder)
        finally:
            self._idle.put(encoder)
