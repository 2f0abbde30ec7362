"""Numba kernels that lay out JSON lines byte by byte; loads numba, so import it inside functions only.

Every text that can occur (a line's head, a term, an impact) was escaped and packed beforehand. Copying is
done in chunks of fixed width that may run past a piece's end, because a copy of known length is two
instructions and a loop over bytes costs several times more; what runs over is overwritten by the next piece,
which is why `out` is `SPARE` bytes longer than the lines. No checks in `fill`: `measure` has made them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from lexlip_infer.impacts._compiled import compiled
from lexlip_infer.impacts._packed import SPARE, Packed

__all__ = ["fill", "measure"]

Bytes = npt.NDArray[np.uint8]
Rows = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]

# Set here and not where SPARE is: numba's cache notices changes of this file only.
CHUNK = 16
assert CHUNK <= SPARE

CLOSING = (ord("}"), ord("}"), ord("\n"))


def _copy_chunk(_typing: Any, target: Any, _at: Any, source: Any, _start: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, at, source, start = arguments
        into = context.make_array(signature.args[0])(context, builder, target).data
        origin = context.make_array(signature.args[2])(context, builder, source).data
        count = context.get_constant(types.int64, CHUNK)
        cgutils.raw_memcpy(builder, builder.gep(into, [at]), builder.gep(origin, [start]), count, 1)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64), generate


# target[at : at + CHUNK] = source[start : start + CHUNK], as one unaligned move; slices give a loop
copy_chunk = intrinsic(_copy_chunk)


@compiled
def append(out: Bytes, at: int, pieces: Packed, i: int) -> int:
    """Copy piece `i` to `out[at:]`; returns where the next one goes."""
    start = pieces.starts[i]
    length = pieces.starts[i + 1] - start - 1
    # Most pieces fit one chunk; copying that one before any test of the length made `fill` 1.4 times as fast.
    copy_chunk(out, at, pieces.text, start)
    for offset in range(CHUNK, length, CHUNK):
        copy_chunk(out, at + offset, pieces.text, start + offset)
    return at + int(length)


@compiled
def count_digits(number: int) -> int:
    """Decimal digits of a positive number."""
    digits = 1
    while number > 9:
        number //= 10
        digits += 1
    return digits


@compiled
def append_number(out: Bytes, at: int, number: int) -> int:
    """Write a positive number and a comma; the way for numbers too rare to keep as a piece."""
    end = at + count_digits(number)
    out[end] = ord(",")
    for position in range(end - 1, at - 1, -1):
        out[position] = ord("0") + number % 10
        number //= 10
    return end + 1


@compiled
def measure(rows: Rows, heads: Packed, terms: Packed, numbers: Packed) -> int:
    """Exact size of the lines in bytes, or -1 if the matrix breaks an invariant that `fill` relies on."""
    indptr, indices, impacts = rows
    vocab_size, number_count = len(terms.starts) - 1, len(numbers.starts) - 1
    for row in range(len(indptr) - 1):
        if indptr[row + 1] < indptr[row]:
            return -1
    size = heads.starts[-1] - (len(heads.starts) - 1)
    for row in range(len(indptr) - 1):
        # The last comma gives way to a bracket; an empty row has none to give.
        size += 2 if indptr[row + 1] > indptr[row] else 3
        previous = -1
        for entry in range(indptr[row], indptr[row + 1]):
            term, impact = indices[entry], impacts[entry]
            if term <= previous or term >= vocab_size or impact < 1:
                return -1
            size += terms.starts[term + 1] - terms.starts[term] - 1
            if impact < number_count:
                size += numbers.starts[impact + 1] - numbers.starts[impact] - 1
            else:
                size += count_digits(impact) + 1
            previous = term
    return int(size)


@compiled
def fill(rows: Rows, heads: Packed, terms: Packed, numbers: Packed, out: Bytes) -> None:
    """Write all lines; `out` holds `measure(...) + SPARE` bytes."""
    indptr, indices, impacts = rows
    at = 0
    for row in range(len(indptr) - 1):
        at = append(out, at, heads, row)
        for entry in range(indptr[row], indptr[row + 1]):
            at = append(out, at, terms, indices[entry])
            if impacts[entry] < len(numbers.starts) - 1:
                at = append(out, at, numbers, impacts[entry])
            else:
                at = append_number(out, at, impacts[entry])
        if indptr[row + 1] > indptr[row]:
            at -= 1
        for byte in CLOSING:
            out[at] = byte
            at += 1
