"""Recall of image-text retrieval, from ranked lists. The one implementation that training and evaluation share.

Following the usual protocol, a query counts as found at k when any of its relevant rows is among the first k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CUTOFFS", "Recall", "rank_rows", "recall"]

CUTOFFS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of queries, in per cent, with a relevant row among the first 1, 5 and 10."""

    at_1: float
    at_5: float
    at_10: float

    def __str__(self) -> str:
        return f"{self.at_1:.1f}/{self.at_5:.1f}/{self.at_10:.1f}"

    def total(self) -> float:
        """Sum of the three, the usual criterion of model selection."""
        return self.at_1 + self.at_5 + self.at_10


def rank_rows(scores: npt.NDArray[np.floating], k: int = CUTOFFS[-1]) -> npt.NDArray[np.int64]:
    """Rows by descending score, ties by ascending row.

    Args:
        scores: (Q, N).
        k: rows to keep.

    Returns:
        (Q, min(k, N)).
    """
    order: npt.NDArray[np.int64] = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order


def recall(ranked: npt.NDArray[np.integer], relevant: Sequence[Sequence[int]]) -> Recall:
    """Recall at 1, 5 and 10.

    Args:
        ranked: (Q, k), row numbers by rank, -1 where a query found fewer.
        relevant: for each query, its relevant rows (never -1).
    """
    hits = np.zeros((len(ranked), CUTOFFS[-1]), bool)
    for query, rows in enumerate(relevant):
        first = ranked[query, : CUTOFFS[-1]]
        hits[query, : len(first)] = np.isin(first, rows)
    found = hits.cumsum(axis=1) > 0
    return Recall(*(100.0 * float(found[:, cutoff - 1].mean()) for cutoff in CUTOFFS))
