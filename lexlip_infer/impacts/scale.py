"""Whether a scale fits the weights: which one just reaches the cap, and how many weights a scale is too small for.

The quantiser loses no kept term: a weight that would round to 0 is lifted to an impact of 1. Where that happens to many
of them, weights no longer differ, and an index ranks by how many terms match. Unit vectors over a whole vocabulary have
weights of 0.01, of which scale 100 makes ones. The quantiser goes on; this module is how others can tell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lexlip_infer.impacts.quantise import LARGEST, SMALLEST, QuantisationSettings

if TYPE_CHECKING:
    from lexlip_infer.vectors.sparse_batch import SparseBatch

#: Share of kept terms that may be lifted before people are told.
MOST_LIFTED = 0.05


def lifted_terms(batch: SparseBatch, settings: QuantisationSettings) -> int:
    """How many positive weights (B, V) would round to 0, and become an impact of 1 instead."""
    weights = batch.values[batch.values > 0]
    if settings.normalise:
        weights = _normalised(batch)[batch.values > 0]
    with np.errstate(over="ignore", under="ignore"):
        return int(np.count_nonzero(np.rint(np.float32(settings.scale) * weights) == 0))


def largest_weight(batch: SparseBatch, normalise: bool) -> float:
    """Of all rows, each over the norm of its kept terms where `normalise` says so; 1 where there is no weight."""
    largest = (_normalised(batch) if normalise else batch.values).max(initial=0)
    return float(largest) or 1.0


def fitting_scale(largest: float, cap: int) -> float:
    """The scale at which a weight of `largest` becomes `cap`, to four digits: all smaller ones stay apart best.

    >>> fitting_scale(0.0421, 255)
    6057.0
    """
    scale = min(max(cap / largest, SMALLEST), LARGEST)
    return min(max(round(scale, 3 - math.floor(math.log10(scale))), SMALLEST), LARGEST)


def _normalised(batch: SparseBatch) -> npt.NDArray[np.float32]:
    norms = np.maximum(batch.norms()[batch.row_numbers], np.finfo(np.float32).tiny)
    return (batch.values / norms).astype(np.float32)
