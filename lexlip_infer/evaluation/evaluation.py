"""Image-text retrieval measured as a user gets it: kept terms, integer impacts, exact search on an inverted index.

Each photograph has several captions. Text to image: every caption is a query, its photograph the one relevant
document. Image to text: every photograph is a query, each of its captions is relevant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lexlip_infer.datasets import CaptionedImages, read_captioned_images
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.evaluation.ranks import recall_of, similarity_ranks
from lexlip_infer.evaluation.recall import CUTOFFS, Recall, recall
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

__all__ = [
    "CaptionedImages",
    "Direction",
    "evaluate",
    "full_recall",
    "impact_recall",
    "read_captioned_images",
]


@dataclass(frozen=True, slots=True)
class Direction:
    """Recall of one direction: of un-pruned vectors under the model's similarity, and of impacts in the index."""

    full: Recall
    impacts: Recall


def evaluate(
    encoder: LexLIPEncoder,
    images: SparseBatch,
    texts: SparseBatch,
    data: CaptionedImages,
    top_k: tuple[int, int],
    scale: float,
) -> tuple[Direction, Direction]:
    """Recall of text to image and of image to text.

    Args:
        encoder: for its similarity and settings.
        images: (N, V), un-pruned.
        texts: un-pruned, in the order of `data.captions`.
        data: who belongs to whom.
        top_k: terms kept of an image and of a text before quantising.
        scale: of the quantiser.
    """
    manifest = encoder.manifest
    settings = QuantisationSettings(scale, manifest.quantisation.cap, manifest.similarity == "cosine")
    image_impacts, text_impacts = (
        quantise(batch.top_k(k), settings) for batch, k in zip((images, texts), top_k, strict=True)
    )
    full = full_recall(encoder, images, texts, data)
    kept = impact_recall(image_impacts, text_impacts, data, encoder.threads)
    return Direction(full[0], kept[0]), Direction(full[1], kept[1])


def full_recall(
    encoder: LexLIPEncoder, images: SparseBatch, texts: SparseBatch, data: CaptionedImages
) -> tuple[Recall, Recall]:
    """Recall of un-pruned vectors under the model's similarity: text to image, image to text."""
    owner, rows = np.array(data.owner), np.arange(len(data.images))
    return (
        recall_of(similarity_ranks(encoder, texts, images, owner, rows)),
        recall_of(similarity_ranks(encoder, images, texts, rows, owner)),
    )


def impact_recall(
    images: ImpactMatrix, texts: ImpactMatrix, data: CaptionedImages, threads: int
) -> tuple[Recall, Recall]:
    """Recall of impacts in an inverted index, by exact search: text to image, image to text."""
    return (
        _search(images, texts, [[image] for image in data.owner], threads),
        _search(texts, images, data.captions_of(), threads),
    )


def _search(documents: ImpactMatrix, queries: ImpactMatrix, relevant: Sequence[Sequence[int]], threads: int) -> Recall:
    found = ImpactIndex.build(documents).search(queries, CUTOFFS[-1], threads)
    return recall(found.rows, relevant)
