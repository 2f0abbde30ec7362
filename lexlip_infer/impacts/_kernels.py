"""Numba kernels from weights to impacts and from impacts to JSON lines; loads numba, so import in functions only.

Machine code is kept on disk, so that a command compiles once per installation and not once per run.

The quantiser is plain float32 arithmetic without fast-math: numba then neither reorders the sum nor fuses multiply and
add, and that is what makes it equal to `reference.py` in every bit.

Lines are laid out byte by byte from texts (a line's head, a term, an impact) that were escaped and packed beforehand.
Copying is done in chunks of fixed width that may run past a piece's end, because a copy of known length is two
instructions and a loop over bytes costs several times more; what runs over is overwritten by the next piece, which is
why `out` is `SPARE` bytes longer than the lines. No checks in `fill`: `measure` has made them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from lexlip_infer.impacts.terms import SPARE, Packed

Kernel = TypeVar("Kernel", bound=Callable[..., object])
Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Weighted = tuple[Offsets, Ids, npt.NDArray[np.float32]]
Rows = tuple[Offsets, Ids, Ids]

# Set here and not where SPARE is: numba's cache notices changes of this file only.
CHUNK = 16
assert CHUNK <= SPARE

CLOSING = (ord("}"), ord("}"), ord("\n"))


def compiled(function: Kernel) -> Kernel:
    """Compile on first call, releasing the interpreter lock so that a pipeline's stages overlap.

    The cache goes next to the source, else into the user's cache folder. Where neither can be written (say,
    in a container with a read-only root), numba refuses outright; the kernel is then compiled in each process
    anew.
    """
    try:
        kernel: Kernel = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        kernel = numba.njit(nogil=True)(function)
    return kernel


@compiled
def quantise_rows(rows: Weighted, scale: np.float32, cap: np.float32, normalise: bool, out: Rows) -> int:
    """Quantise all rows into `out`, whose arrays are as long as those of `rows`; its offsets start as zeros.

    Returns:
        -1, or the position of the first weight that is NaN, infinite or negative.
    """
    indptr, indices, values = rows
    out_indptr, out_indices, out_impacts = out
    written = 0
    for row in range(len(indptr) - 1):
        squares = 0.0
        for entry in range(indptr[row], indptr[row + 1]):
            weight = values[entry]
            # Written so that NaN fails too.
            if not (weight >= 0 and weight < np.inf):
                return entry
            squares += np.float64(weight) * np.float64(weight)
        norm = np.float32(np.sqrt(squares))
        for entry in range(indptr[row], indptr[row + 1]):
            weight = values[entry]
            if weight == 0:
                continue
            if normalise:
                weight = weight / norm
            impact = np.rint(scale * weight)
            out_indices[written] = indices[entry]
            out_impacts[written] = np.int32(min(max(impact, np.float32(1)), cap))
            written += 1
        out_indptr[row + 1] = written
    return -1


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
