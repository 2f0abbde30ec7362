"""Ctrl-C: the first ends a command in order, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["INTERRUPTED", "second_interrupt_ends"]

#: Exit status after Ctrl-C, as shells have it.
INTERRUPTED = 130


@contextmanager
def second_interrupt_ends() -> Iterator[None]:
    """While the block runs, the first interrupt raises KeyboardInterrupt and the next ends the process on the spot.

    For work that is safe to be killed: the block's clean-up may take as long as a batch does, or hang with a disk.
    Where somebody else handles interrupts, or ignores them, nothing is changed.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _first)
    try:
        yield
    finally:
        # After a first interrupt the process is on its way out, and the next one is still the second.
        if signal.getsignal(signal.SIGINT) is _first:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _first(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, _second)
    signal.default_int_handler(number, frame)


def _second(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  (as a handler is called)
    os._exit(INTERRUPTED)
