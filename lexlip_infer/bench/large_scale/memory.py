"""Memory of this process, as Linux counts it."""

from __future__ import annotations

import resource
from pathlib import Path

__all__ = ["children_peak", "memory"]

_FIELDS = {"VmHWM": "peak", "VmRSS": "resident", "RssAnon": "anonymous"}


def memory() -> dict[str, int]:
    """Bytes of this process.

    Returns:
        `peak` and present `resident` memory, and the `anonymous` part of the latter: the rest are pages of mapped
        files, which the system takes back when it needs them.
    """
    found = {}
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in _FIELDS:
            found[_FIELDS[name]] = int(rest.split()[0]) * 1024
    return found


def children_peak() -> int:
    """Largest resident memory of any child process that has ended, in bytes; 0 where there was none."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
