"""Bytes put aside until a writer may emit them: in memory while they are few, then in a file without a name."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Spool"]

_IN_MEMORY = 16 * 2**20
_PIECE = 2**20


class Spool:
    """Written first, then read; what is on disk disappears with the process, however that ends.

    Args:
        folder: for the file; None means the system's folder for temporary files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=None if folder is None else str(folder))  # noqa: SIM115
        # A writer may be dropped half-way; the file then closes with it.
        weakref.finalize(self, self._file.close)
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self.size += len(data)

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start`."""
        self._file.seek(start)
        return self._file.read(size)

    def pieces(self) -> Iterator[bytes]:
        """Everything, piece by piece."""
        for start in range(0, self.size, _PIECE):
            yield self.read(start, _PIECE)
