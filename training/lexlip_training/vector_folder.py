"""`vectors.npy` and `ids.txt`: dense vectors as Faiss and numpy read them, in memory that does not grow with them.

The folder appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lexlip_infer.files import new_folder

__all__ = ["VectorFolder", "new_vector_folder"]


class VectorFolder:
    """Takes vectors and their ids, row by row.

    Args:
        vectors: file for `vectors.npy`, empty.
        ids: file for `ids.txt`, empty.
        failures: file for `failures.jsonl`, empty.
        dimensions: D.
    """

    def __init__(self, vectors: BinaryIO, ids: BinaryIO, failures: BinaryIO, dimensions: int) -> None:
        self._vectors, self._ids, self._failures, self._dimensions = vectors, ids, failures, dimensions
        self.rows = self.failed = 0
        self._header()

    def _header(self) -> int:
        """Write the header for as many rows as there are; numpy leaves room in it for the number to grow."""
        self._vectors.seek(0)
        shape = (self.rows, self._dimensions)
        np.lib.format.write_array_header_1_0(self._vectors, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return self._vectors.tell()

    def append(self, ids: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
        """Add vectors (n, D) and their ids, which must hold no line break."""
        assert vectors.shape == (len(ids), self._dimensions)
        self._vectors.write(np.ascontiguousarray(vectors, "<f4").tobytes())
        self._ids.write("".join(f"{identifier}\n" for identifier in ids).encode())
        self.rows += len(ids)

    def fail(self, line: str) -> None:
        """List an input that has no vector, as one line of JSON."""
        self._failures.write(f"{line}\n".encode())
        self.failed += 1

    def finish(self) -> None:
        """Write the number of rows."""
        end = self._vectors.tell()
        start = self._header()
        assert end == start + 4 * self.rows * self._dimensions, "the header has not grown"


@contextmanager
def new_vector_folder(output: Path, dimensions: int) -> Iterator[VectorFolder]:
    """A folder that is there, complete, when the block has ended without an exception.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    with new_folder(output) as partial:
        files = [partial / name for name in ("vectors.npy", "ids.txt", "failures.jsonl")]
        with files[0].open("w+b") as vectors, files[1].open("wb") as ids, files[2].open("wb") as failures:
            folder = VectorFolder(vectors, ids, failures, dimensions)
            yield folder
            folder.finish()
