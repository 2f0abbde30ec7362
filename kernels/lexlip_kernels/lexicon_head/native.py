"""lexicon_head in C++ (kernels/cpp/lexicon_head/lexicon_head.cpp), which fills arrays that are allocated here.

Arguments are checked by the caller, except for NaN, infinity and overflow: the C++ meets every value anyway, and says
in which row or column it met one that cannot be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_kernels import _native
from lexlip_kernels.head_rule import HeadRule

PANEL_COLUMNS = 32
"""Vocabulary columns a panel."""

DEPTH_STEP = 64
"""Channels of a column are padded to a multiple of this."""


@dataclass(frozen=True, slots=True, eq=False)
class DecoderPanels:
    """A decoder as the native scan reads it: int8 panels of 32 vocabulary columns, and what bounds their error.

    V columns of H channels, padded to P whole panels and to D channels, a multiple of 64. README.md in this folder says
    what the numbers mean.

    Attributes:
        values: (P * 32 * D,), int8, by panel, then groups of 4 channels, then columns, then channel.
        sums: (P * 32,), the sum of a column's values.
        scale: (P * 32,), what a value of 1 stands for.
        norm: (P * 32,), no less than the Euclidean norm of the column, and of its quantised form.
        residual: (P * 32,), no less than the norm of what quantisation lost, roundings of the float32 sum included.
    """

    values: npt.NDArray[np.int8]
    sums: npt.NDArray[np.int32]
    scale: npt.NDArray[np.float32]
    norm: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]

    def arrays(
        self,
    ) -> tuple[
        npt.NDArray[np.int8],
        npt.NDArray[np.int32],
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
    ]:
        """All five, in the order in which the compiled module takes them."""
        return self.values, self.sums, self.scale, self.norm, self.residual

    def largest_norm(self) -> float:
        """No column's Euclidean norm is larger."""
        return float(self.norm.max())


def cpu_paths() -> tuple[str, ...]:
    """Instruction sets that run here, fastest first."""
    return tuple(_native.lexicon_cpu_paths())


def _from_a_cache_line(size: int) -> npt.NDArray[np.int8]:
    """An uninitialised array that begins at a multiple of 64 bytes: AMX loads are four times slower elsewhere."""
    room = np.empty(size + 63, np.int8)
    start = -room.ctypes.data % 64
    return room[start : start + size]


def pack(weight: npt.NDArray[np.float32], threads: int) -> tuple[DecoderPanels, int]:
    """Quantise a decoder (V, H); with it the first column that is not finite, or -1."""
    vocab_size, hidden_size = weight.shape
    padded = -(-vocab_size // PANEL_COLUMNS) * PANEL_COLUMNS
    depth = -(-hidden_size // DEPTH_STEP) * DEPTH_STEP
    panels = DecoderPanels(
        _from_a_cache_line(padded * depth),
        np.empty(padded, np.int32),
        *(np.empty(padded, np.float32) for _ in range(3)),
    )
    refused = _native.lexicon_pack(weight, threads, *panels.arrays())
    return panels, refused


def top_terms(
    hidden: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    mask: npt.NDArray[np.uint8],
    k: int,
    *,
    rule: HeadRule,
    own: npt.NDArray[np.int64],
    panels: DecoderPanels,
    exact: bool,
    threads: int,
    cpu_path: str,
) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int32]], int]:
    """First k terms of each row and its own (B, O), as (ids, weights, counts); first row that cannot be used, or -1."""
    rows, width = len(hidden), k + own.shape[1]
    out: tuple[npt.NDArray[Any], ...] = (
        np.empty((rows, width), np.int64),
        np.empty((rows, width), np.float32),
        np.empty(rows, np.int32),
    )
    ids, weights, counts = out
    decoder = _native.DecoderArrays(weight, bias, *panels.arrays(), panels.largest_norm())
    elu1p = rule.saturation == "elu1p"
    refused = _native.lexicon_head(decoder, hidden, mask, exact, threads, cpu_path, elu1p, rule.normalise, own, *out)
    return (ids, weights, counts), refused


def upper_bounds(
    hidden: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    mask: npt.NDArray[np.uint8],
    *,
    panels: DecoderPanels,
    threads: int,
    cpu_path: str,
) -> npt.NDArray[np.float32]:
    """What the int8 scan knows: (B, V), no float32 logit is larger. For tests and benchmarks; inputs must be finite."""
    bounds = np.empty((len(hidden), len(bias)), np.float32)
    decoder = _native.DecoderArrays(weight, bias, *panels.arrays(), panels.largest_norm())
    _native.lexicon_upper_bounds(decoder, hidden, mask, threads, cpu_path, bounds)
    return bounds
