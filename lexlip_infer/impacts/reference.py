"""The definition of quantisation, slow and obvious; the numba kernel must agree with it in every bit.

Per row, over the kept terms in ascending term id:

1. norm = float32(sqrt(sum of weight^2)), summed one after the other in float64 (the squares are exact there);
2. if normalising: weight = weight / norm, in float32;
3. scaled = float32(scale) * weight, in float32;
4. impact = scaled rounded to the nearest integer, halves to the even one, then at least 1, then at most cap;
5. a weight of exactly 0 (before step 1) is dropped.

A product beyond float32 is infinite and meets the cap. No validation: `quantise.quantise` does that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lexlip_kernels.impact_matrix import ImpactMatrix

if TYPE_CHECKING:
    from lexlip_infer.impacts.quantise import QuantisationSettings
    from lexlip_infer.vectors.sparse_batch import SparseBatch


def quantise(batch: SparseBatch, settings: QuantisationSettings) -> ImpactMatrix:
    """Turn weights (B, V) into impacts (B, V), one row at a time.

    Args:
        batch: weights, finite and >= 0.
        settings: scale, cap and normalisation.
    """
    indptr = np.zeros(len(batch) + 1, np.int64)
    indices, impacts = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for i in range(len(batch)):
        ids, weights = batch.row(i)
        kept = weights > 0
        indices.append(ids[kept])
        impacts.append(_quantise_row(weights[kept], settings))
        indptr[i + 1] = indptr[i] + kept.sum()
    return ImpactMatrix(indptr, np.concatenate(indices), np.concatenate(impacts), batch.vocab_size)


def _quantise_row(weights: npt.NDArray[np.float32], settings: QuantisationSettings) -> npt.NDArray[np.int32]:
    with np.errstate(over="ignore", under="ignore"):
        if settings.normalise and len(weights):
            weights = weights / _norm(weights)
        scaled = np.float32(settings.scale) * weights
    rounded: npt.NDArray[np.int32] = np.rint(scaled).clip(1, settings.cap).astype(np.int32)
    return rounded


def _norm(weights: npt.NDArray[np.float32]) -> np.float32:
    total = 0.0
    for weight in weights.tolist():
        total += weight * weight
    return np.float32(math.sqrt(total))
