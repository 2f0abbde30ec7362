"""What a run tells of itself while it lasts: apart from its results, and never a silent quarter of an hour."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Remaining", "Tell", "telling"]

#: Told what is being done, for a progress line.
Tell = Callable[[str], None]


@contextmanager
def telling() -> Iterator[Tell]:
    """A line on a terminal that says what is being done; a line for each step elsewhere, on standard error."""
    if not sys.stderr.isatty():
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(escape(text))


class Remaining:
    """How long the rest of equal steps takes, from those that are done.

    Args:
        steps: of all of it.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._started = time.monotonic()

    def step(self) -> None:
        """One more is done."""
        self._done += 1

    def __str__(self) -> str:
        if self._done == 0:
            return "no estimate yet"
        left = (time.monotonic() - self._started) / self._done * (self._steps - self._done)
        return f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left"
