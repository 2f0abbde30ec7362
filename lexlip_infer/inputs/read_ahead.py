"""Work that is done at the same time, in any order, and comes out in the order it went in, a bounded window of it.

The one read-ahead of the product: files from a network, images on decoding threads, batches in worker processes.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter
from typing import Protocol, TypeVar

from lexlip_infer.errors import InputError

Step = TypeVar("Step")
Result = TypeVar("Result")

#: Bytes of memory that items put together, and those under way, may take; one that takes more comes alone.
MOST_TOGETHER, MOST_UNDER_WAY = 2**26, 2**27


class Held(Protocol):
    """Something that takes memory; see `items`."""

    @property
    def held(self) -> int:
        """Bytes."""
        ...


HeldItem = TypeVar("HeldItem", bound=Held)


def gather(items: Iterator[HeldItem], count: int) -> list[HeldItem]:
    """The next `count` items, or fewer where they end or take `MOST_TOGETHER` bytes already."""
    gathered, held = list[HeldItem](), 0
    for item in items:
        gathered.append(item)
        held += item.held
        if len(gathered) == count or held >= MOST_TOGETHER:
            break
    return gathered


def in_order(
    steps: Iterable[Step],
    start: Callable[[Step], Future[Result]],
    ahead: int,
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    held: Callable[[Step], int] = lambda _: 0,
) -> Iterator[tuple[Step, Result]]:
    """Each step with its result.

    Args:
        steps: read only when there is room for one more.
        start: begins the work of a step.
        ahead: steps that are started and whose result has not been asked for yet, at most.
        waiting: entered while waiting for a result.
        held: bytes of memory that a step takes: of `MOST_UNDER_WAY` or more, no further step is read.
    """
    window: deque[tuple[Step, Future[Result]]] = deque()
    under_way = 0

    def oldest() -> tuple[Step, Result]:
        nonlocal under_way
        step, future = window.popleft()
        under_way -= held(step)
        with waiting():
            return step, future.result()

    for step in steps:
        window.append((step, start(step)))
        under_way += held(step)
        while window and (len(window) >= ahead or under_way >= MOST_UNDER_WAY):
            yield oldest()
    while window:
        yield oldest()


def map_ahead(
    function: Callable[[Step], Result], steps: Iterable[Step], threads: int, ahead: int, name: str
) -> Iterator[Result]:
    """What a function makes of each step, on threads; what nobody asks for any more is cancelled.

    Args:
        function: of one step; what it raises is raised here, in its place.
        steps: as of `in_order`.
        threads: that work at the same time.
        ahead: as of `in_order`.
        name: of the threads.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        # No variable here: it would keep a result alive that its consumer is done with.
        yield from map(itemgetter(1), in_order(steps, lambda step: pool.submit(function, step), ahead))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def batched(items: Iterable[Step], size: int) -> Iterator[list[Step]]:
    """Lists of `size` items, the last one shorter; the items are read as the lists are.

    Raises:
        InputError: the size is below 1.
    """
    if size < 1:
        raise InputError(f"batch_size is {size}; expected at least 1")
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
