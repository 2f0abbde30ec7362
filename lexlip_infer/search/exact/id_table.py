"""Document ids that are mapped and not loaded: UTF-8 end to end, and where each begins.

Ids ascend by code point, which in UTF-8 is the order of the bytes, so that they are found by bisection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError

__all__ = ["IdTable", "pack_ids"]

#: Ids that an iteration reads at a time.
_BLOCK = 1 << 16


class IdTable(Sequence[bytes]):
    """N ids in UTF-8.

    Args:
        offsets: (N+1,) int64, id i is `text[offsets[i]:offsets[i+1]]`.
        text: uint8.
    """

    def __init__(self, offsets: npt.NDArray[np.int64], text: npt.NDArray[np.uint8]) -> None:
        self._offsets, self._text = offsets, text

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, row: int) -> bytes: ...
    @overload
    def __getitem__(self, row: slice) -> list[bytes]: ...
    def __getitem__(self, row: int | slice) -> bytes | list[bytes]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        return self._text[self._offsets[row] : self._offsets[row + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        for first in range(0, len(self), _BLOCK):
            bounds = self._offsets[first : first + _BLOCK + 1]
            text = self._text[bounds[0] : bounds[-1]].tobytes()
            starts = (bounds - bounds[0]).tolist()
            yield from (text[start:end] for start, end in pairwise(starts))

    def find(self, name: bytes) -> int | None:
        """The row of an id."""
        row = bisect_left(self, name)
        return row if row < len(self) and self[row] == name else None


def pack_ids(names: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """The arrays of an `IdTable`, of ids in ascending order.

    Raises:
        InputError: an id occurs twice.
    """
    for name, following in pairwise(names):
        if name == following:
            raise duplicate(name)
    offsets = np.zeros(len(names) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, names), np.int64, len(names)), out=offsets[1:])
    return offsets, np.frombuffer(b"".join(names), np.uint8)


def duplicate(name: bytes) -> InputError:
    """The error for an id that occurs twice."""
    return InputError(f"document id {name.decode()!r} occurs twice; every document needs an id of its own")
