"""Numba kernel of the quantiser; loads numba, so import it inside functions only.

Plain float32 arithmetic without fast-math: numba then neither reorders the sum nor fuses multiply and add,
and that is what makes it equal to `reference.py` in every bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lexlip_infer.impacts._compiled import compiled

__all__ = ["quantise_rows"]


Ids = npt.NDArray[np.int32]
Weighted = tuple[npt.NDArray[np.int64], Ids, npt.NDArray[np.float32]]
Impacts = tuple[npt.NDArray[np.int64], Ids, Ids]


@compiled
def quantise_rows(rows: Weighted, scale: np.float32, cap: np.float32, normalise: bool, out: Impacts) -> int:
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
