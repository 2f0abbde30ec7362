"""Functions that several Triton kernels call. Imports Triton: only functions import the modules that use it."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["log1p", "ordered"]


@triton.jit
def log1p(x: tl.tensor) -> tl.tensor:
    """Log(1 + x) of x >= 0 to a few units in the last place: log(u) corrected for the rounding of u = 1 + x."""
    u = 1.0 + x
    small = (u > 1.0) & (x < 1.0)
    correction = tl.where(small, x, 1.0) / tl.where(small, u - 1.0, 1.0)
    return tl.where(u == 1.0, x, tl.log(u) * correction)


@triton.jit
def ordered(bits: tl.tensor) -> tl.tensor:
    """Bits of float32 to int32 of the same order, and back: negatives get what follows their sign flipped."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
