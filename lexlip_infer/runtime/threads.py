"""How many threads to use when nobody said: those this process may run on, not those the machine has."""

from __future__ import annotations

import os

from lexlip_infer.errors import InputError

__all__ = ["thread_count"]


def thread_count(threads: int | None) -> int:
    """The number asked for, or the number of CPUs available to this process.

    Raises:
        InputError: fewer than one thread was asked for.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise InputError(f"threads is {threads}; expected at least 1, or nothing for all available")
    return threads
