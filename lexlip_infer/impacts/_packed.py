"""Texts end to end in one array, which is how numba kernels can take strings; needs no numba itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SPARE", "Packed", "pack"]

SPARE = 16
"""Bytes after the last piece, so that a copy in wide chunks may run past its end."""


class Packed(NamedTuple):
    """N texts in UTF-8.

    Attributes:
        text: uint8, piece `i` is `text[starts[i] : starts[i + 1] - 1]`, then a separator; ends in `SPARE`
            spare bytes.
        starts: (N+1,) int64.
    """

    text: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]


def pack(pieces: Iterable[str]) -> Packed:
    """Pack JSON-escaped texts. JSON escapes every line feed, so a raw one can only be the separator put here.

    Raises:
        UnicodeEncodeError: a piece holds a lone surrogate.
    """
    packed = "".join([f"{piece}\n" for piece in pieces]).encode()
    text = np.frombuffer(packed + bytes(SPARE), np.uint8)
    ends = np.flatnonzero(text == ord("\n")) + 1
    return Packed(text, np.concatenate([[0], ends]).astype(np.int64))
