"""Figures of one tower in one precision, gathered batch by batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lexlip_export.precision.encoding import Encoding
from lexlip_export.precision.report import Errors, TowerFigures
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels.lexicon_pool import saturate
from lexlip_kernels.lexicon_topk import lexicon_topk

__all__ = ["Comparison", "kept_terms"]


class Comparison:
    """Compares a candidate's encodings with the reference's.

    Args:
        top_k: terms kept of each row.
    """

    def __init__(self, top_k: int) -> None:
        self.top_k = top_k
        self._hidden, self._weights = _Difference(), _Difference()
        self._overlaps: list[float] = []
        self._candidate: list[SparseBatch] = []

    def add(self, reference: Encoding, kept: SparseBatch, candidate: Encoding, mask: Tensor | None) -> None:
        """Take in one batch.

        Args:
            reference: of the float32 model.
            kept: its `kept_terms`.
            candidate: of the precision under test.
            mask: (B, L), non-zero on real tokens; padding is not compared.
        """
        real = torch.ones(reference.hidden.shape[:2], dtype=torch.bool) if mask is None else mask != 0
        self._hidden.add(reference.hidden[real], candidate.hidden[real])
        weights, others = saturate(reference.pooled), saturate(candidate.pooled)
        used = ~((weights == 0) & (others == 0))  # a NaN is used
        self._weights.add(weights[used], others[used])
        terms = kept_terms(candidate, self.top_k)
        self._overlaps += [_overlap(kept.row(row)[0], terms.row(row)[0]) for row in range(len(terms))]
        self._candidate.append(terms)

    def vectors(self) -> SparseBatch:
        """The candidate's kept terms of all rows so far."""
        return SparseBatch.concatenate(self._candidate)

    def figures(self) -> TowerFigures:
        """What was found."""
        return TowerFigures(
            rows=len(self._overlaps),
            hidden=self._hidden.errors(),
            weights=self._weights.errors(),
            top_k=self.top_k,
            overlap=float(np.mean(self._overlaps)),
            overlap_min=min(self._overlaps),
        )


class _Difference:
    """Largest and mean absolute difference of two streams of numbers."""

    def __init__(self) -> None:
        self._largest = self._sum = self._magnitude = 0.0
        self._count = 0

    def add(self, reference: Tensor, other: Tensor) -> None:
        if not reference.numel():
            return
        error = (other.double() - reference.double()).abs()
        self._largest = float(torch.tensor(self._largest).maximum(error.max()))  # unlike Python's max, keeps NaN
        self._sum += float(error.sum())
        self._magnitude += float(reference.double().abs().sum())
        self._count += error.numel()

    def errors(self) -> Errors:
        count = max(self._count, 1)
        return Errors(max=self._largest, mean=self._sum / count, magnitude=self._magnitude / count)


def kept_terms(encoding: Encoding, top_k: int) -> SparseBatch:
    """The `top_k` heaviest terms of each row, ties to the lower id, as the exported head keeps them."""
    ids, weights, _ = lexicon_topk(encoding.pooled, top_k, backend="reference")
    return SparseBatch.from_ranked(ids.numpy(), weights.numpy(), encoding.pooled.shape[1])


def _overlap(reference: np.ndarray, other: np.ndarray) -> float:
    """Share of terms in common; two empty rows are the same."""
    size = max(len(reference), len(other))
    return len(np.intersect1d(reference, other, assume_unique=True)) / size if size else 1.0
