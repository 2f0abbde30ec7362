"""Figures of a precision: a batch encoded on both sides, compared term by term, and what it does to retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lexlip_export.backbone_graph import backbone_module
from lexlip_export.precision.report import Direction, Errors, RetrievalFigures, TowerFigures
from lexlip_infer.bundle import Modality
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.evaluation.ranks import CUTOFFS, Labels, Recall, ranks_in_lists
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.runtime.machine import thread_count
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels.impact_dot import ImpactIndex
from lexlip_kernels.lexicon_pool import max_logits, saturate
from lexlip_kernels.lexicon_topk import lexicon_topk
from lexlip_training.model import LexLIP


@dataclass(frozen=True, slots=True)
class Encoding:
    """One batch, encoded.

    Attributes:
        hidden: (B, L, H) float32.
        pooled: (B, V) float32, the largest logit of each term, bias included, before saturation.
    """

    hidden: Tensor
    pooled: Tensor


@torch.no_grad()
def encode(model: LexLIP, modality: Modality, inputs: dict[str, Tensor]) -> Encoding:
    """Encode with torch, in the precision of the model's weights."""
    return pool_hidden(model, modality, backbone_module(model, modality)(**inputs), inputs)


@torch.no_grad()
def pool_hidden(model: LexLIP, modality: Modality, hidden: Tensor, inputs: dict[str, Tensor]) -> Encoding:
    """Apply the decoder to hidden states (B, L, H) of the decoder's element type."""
    head = getattr(model, f"{modality}_head")
    mask = inputs.get("attention_mask")
    pooled = max_logits(hidden, head.weight, head.decoder_bias(), mask, backend="reference")
    return Encoding(hidden.float(), pooled.float())


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


Vectors = Mapping[Modality, SparseBatch]


def retrieval_figures(
    reference: Vectors, candidate: Vectors, data: CaptionedImages, settings: QuantisationSettings
) -> RetrievalFigures:
    """Recall and agreement in both directions.

    Args:
        reference: kept terms of every photograph and every caption, in the order of `data`, in float32.
        candidate: the same in the precision under test.
        data: who belongs to whom.
        settings: of the quantiser.
    """
    labels: dict[Modality, Labels] = {"image": np.arange(len(data.images)), "text": np.array(data.owner)}

    def direction(documents: Modality, queries: Modality) -> Direction:
        ranked, others = (_search(side[documents], side[queries], settings) for side in (reference, candidate))
        recalls = [Recall.of(ranks_in_lists(rows, labels[queries], labels[documents])) for rows in (ranked, others)]
        return Direction(
            reference=astuple(recalls[0]),
            candidate=astuple(recalls[1]),
            agreement=_agreement(ranked, others),
            same_first=float(np.mean(ranked[:, 0] == others[:, 0])),
        )

    return RetrievalFigures(text_to_image=direction("image", "text"), image_to_text=direction("text", "image"))


def _search(documents: SparseBatch, queries: SparseBatch, settings: QuantisationSettings) -> npt.NDArray[np.integer]:
    index = ImpactIndex.build(quantise(documents, settings))
    return index.search(quantise(queries, settings), CUTOFFS[-1], thread_count(None)).rows


def _agreement(ranked: npt.NDArray[np.integer], others: npt.NDArray[np.integer]) -> float:
    """Mean share of results in common; two empty lists agree."""
    shares = []
    for row, other in zip(ranked, others, strict=True):
        found, other_found = row[row >= 0], other[other >= 0]
        size = max(len(found), len(other_found))
        shares.append(len(np.intersect1d(found, other_found)) / size if size else 1.0)
    return float(np.mean(shares))
