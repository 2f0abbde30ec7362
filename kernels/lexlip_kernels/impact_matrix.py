"""ImpactMatrix: integer term impacts in compressed sparse rows, shared by quantiser, index and search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lexlip_kernels.errors import InputError

__all__ = ["ImpactMatrix"]


@dataclass(frozen=True, slots=True, eq=False)
class ImpactMatrix:
    """N rows of positive integer impacts over V terms.

    Attributes:
        indptr: (N+1,) int64, row i occupies `indices[indptr[i]:indptr[i+1]]`.
        indices: (nnz,) int32, term ids, strictly ascending within a row, in [0, V).
        impacts: (nnz,) int32, each >= 1.
        vocab_size: V.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    impacts: npt.NDArray[np.int32]
    vocab_size: int

    def __post_init__(self) -> None:
        for name, dtype in (("indptr", np.int64), ("indices", np.int32), ("impacts", np.int32)):
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != 1:
                raise InputError(
                    f"ImpactMatrix.{name} is {array.dtype} of rank {array.ndim}; expected rank 1 {np.dtype(dtype)}"
                )
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.indices):
            raise InputError("ImpactMatrix.indptr must start at 0 and end at the number of impacts")
        if len(self.indices) != len(self.impacts):
            raise InputError(f"ImpactMatrix has {len(self.indices)} indices but {len(self.impacts)} impacts")

    def validate(self) -> None:
        """Check every invariant, the expensive ones included.

        Raises:
            InputError: rows overlap, ids are out of range or out of order, or an impact is below 1.
        """
        if (np.diff(self.indptr) < 0).any():
            raise InputError("ImpactMatrix.indptr must not decrease")
        if len(self.indices) == 0:
            return
        if self.indices.min() < 0 or self.indices.max() >= self.vocab_size:
            raise InputError(f"ImpactMatrix.indices must lie in [0, {self.vocab_size})")
        ascending = np.diff(self.indices) > 0
        starts = self.indptr[1:-1]
        ascending[starts[(starts > 0) & (starts < len(self.indices))] - 1] = True
        if not ascending.all():
            raise InputError("ImpactMatrix.indices must be strictly ascending within a row")
        if self.impacts.min() < 1:
            raise InputError("ImpactMatrix.impacts must be at least 1; leave a zero impact out")

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, i: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Term ids (ascending) and impacts of one row, as views."""
        i = range(len(self))[i]
        span = slice(self.indptr[i], self.indptr[i + 1])
        return self.indices[span], self.impacts[span]
