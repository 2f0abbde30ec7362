"""Many strings in one block of memory.

Ten million `str` objects take gigabytes, and every worker process that only looks at them copies them (reference
counts are written). Bytes and offsets stay shared.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np

__all__ = ["PackedStrings"]


class PackedStrings:
    """An immutable sequence of strings; half surrogate pairs, as in odd file names, survive.

    Args:
        strings: consumed once.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        data, ends = bytearray(), array("q", [0])
        for string in strings:
            data += string.encode("utf-8", "surrogatepass")
            ends.append(len(data))
        self._data = np.frombuffer(bytes(data), np.uint8)
        self._ends = np.frombuffer(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self._data[self._ends[row] : self._ends[row + 1]].tobytes().decode("utf-8", "surrogatepass")
