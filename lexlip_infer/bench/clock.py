"""Where the time of a sequential run goes: every moment inside a stage is counted once, for the innermost one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

__all__ = ["IMAGE_STAGES", "TEXT_STAGES", "StageClock"]

IMAGE_STAGES = ("read", "decode", "resize", "transfer", "backbone", "head", "top-k", "quantise", "write")
TEXT_STAGES = ("read", "tokenise", "transfer", "backbone", "head", "top-k", "quantise", "write")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class StageClock:
    """Seconds by stage; of one thread.

    Attributes:
        seconds: so far, by stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block for a stage; a stage inside of it stops the outer one's time."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def around(self, name: str, run: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """The same function, its calls counted for a stage."""

        def counted(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            with self.stage(name):
                return run(*args, **kwargs)

        return counted

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now
