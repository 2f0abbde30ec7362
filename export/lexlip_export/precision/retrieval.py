"""What a precision does to retrieval, measured as a user gets it: kept terms, integer impacts, exact search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
import numpy.typing as npt

from lexlip_export.precision.report import Direction, RetrievalFigures
from lexlip_infer.bundle import Modality
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.evaluation.ranks import CUTOFFS, Labels, Recall, ranks_in_lists
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.runtime.machine import thread_count
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels.impact_dot import ImpactIndex

__all__ = ["retrieval_figures"]

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
