"""Work that is done at the same time, in any order, and comes out in the order it went in, a bounded window of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TypeVar

__all__ = ["in_order"]

Step = TypeVar("Step")
Result = TypeVar("Result")


def in_order(
    steps: Iterable[Step],
    start: Callable[[Step], Future[Result]],
    ahead: int,
    waiting: Callable[[], AbstractContextManager[None]],
) -> Iterator[tuple[Step, Result]]:
    """Each step with its result.

    Args:
        steps: read only when there is room for one more.
        start: begins the work of a step.
        ahead: steps that are started and whose result has not been asked for yet, at most.
        waiting: entered while waiting for a result.
    """
    window: deque[tuple[Step, Future[Result]]] = deque()

    def oldest() -> tuple[Step, Result]:
        step, future = window.popleft()
        with waiting():
            return step, future.result()

    for step in steps:
        window.append((step, start(step)))
        if len(window) >= ahead:
            yield oldest()
    while window:
        yield oldest()
