"""Read ahead through the network: one request at a time would leave the machine idle."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["fetched"]

Place = TypeVar("Place")
Result = TypeVar("Result")

#: Files on their way at once, which is also how many are held in memory.
_AHEAD = 8


def fetched(places: Iterable[Place], fetch: Callable[[Place], Result]) -> Iterator[Result]:
    """What `fetch` makes of each place, in order, at most `_AHEAD` at once."""
    pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix="fetch")
    waiting: deque[Future[Result]] = deque()
    try:
        for place in places:
            waiting.append(pool.submit(fetch, place))
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
