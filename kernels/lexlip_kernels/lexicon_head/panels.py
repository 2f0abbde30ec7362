"""A decoder as the native scan reads it: int8 panels of 32 vocabulary columns, and what bounds their error.

Data only; kernels/cpp/decoder_panels.cpp writes it. README.md in this folder says what the numbers mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DEPTH_STEP", "PANEL_COLUMNS", "DecoderPanels"]

PANEL_COLUMNS = 32
"""Vocabulary columns a panel."""

DEPTH_STEP = 64
"""Channels of a column are padded to a multiple of this."""


@dataclass(frozen=True, slots=True, eq=False)
class DecoderPanels:
    """V columns of H channels, padded to P whole panels of columns and to D channels, a multiple of 64.

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
