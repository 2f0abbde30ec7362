"""What kept terms, bits and time buy: recall in both directions over settings, for the plots of `lexlip eval --plot`.

The time is that of exact search for the 10 best documents of every query, one thread, all queries in one call, divided
by their number: a mean, without encoding. On a collection of a few thousand it says how settings compare, not how fast
a large index is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.evaluation.calibration import calibrate
from lexlip_infer.evaluation.evaluation import impact_recall
from lexlip_infer.evaluation.recall import CUTOFFS, Recall
from lexlip_infer.evaluation.small_scale import Settings
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

__all__ = ["BITS", "KEPT_TERMS", "BitsPoint", "TermsPoint", "sweep_bits", "sweep_terms"]

KEPT_TERMS = (8, 16, 32, 64, 128, 256, 512)
BITS = (1, 2, 3, 4, 6, 8)

#: The best of so many searches counts: others disturb a search, nothing speeds it up.
_REPEATS = 3


@dataclass(frozen=True, slots=True)
class TermsPoint:
    """One number of kept image terms.

    Attributes:
        image_top_k: kept terms at most.
        postings: stored impacts of an image, on average.
        text_to_image: recall.
        image_to_text: recall.
        text_to_image_microseconds: of a search, on average.
        image_to_text_microseconds: of a search, on average.
    """

    image_top_k: int
    postings: float
    text_to_image: Recall
    image_to_text: Recall
    text_to_image_microseconds: float
    image_to_text_microseconds: float


@dataclass(frozen=True, slots=True)
class BitsPoint:
    """One number of bits; the cap is 2^bits - 1, the scale the best of those that `lexlip calibrate` tries."""

    bits: int
    scale: float
    text_to_image: Recall
    image_to_text: Recall


def sweep_terms(
    encoder: LexLIPEncoder,
    images: SparseBatch,
    texts: SparseBatch,
    data: CaptionedImages,
    settings: Settings,
    image_top_ks: Sequence[int] = KEPT_TERMS,
) -> list[TermsPoint]:
    """Vary the kept terms of an image; texts and scale as `settings` say, all photographs in one fold.

    Args:
        encoder: for its similarity, cap and threads.
        images: (N, V), un-pruned.
        texts: un-pruned, in the order of `data.captions`.
        data: who belongs to whom.
        settings: what does not vary.
        image_top_ks: to try; those above V are left out.
    """
    manifest = encoder.manifest
    quantisation = QuantisationSettings(settings.scale, manifest.quantisation.cap, manifest.similarity == "cosine")
    queries = quantise(texts.top_k(settings.text_top_k), quantisation)
    points = []
    for top_k in image_top_ks:
        if top_k <= manifest.vocab_size:
            documents = quantise(images.top_k(top_k), quantisation)
            recalls = impact_recall(documents, queries, data, encoder.threads)
            postings = len(documents.indices) / len(documents)
            times = _microseconds(documents, queries), _microseconds(queries, documents)
            points.append(TermsPoint(top_k, postings, *recalls, *times))
    return points


def sweep_bits(
    encoder: LexLIPEncoder,
    images: SparseBatch,
    texts: SparseBatch,
    data: CaptionedImages,
    settings: Settings,
    bits: Sequence[int] = BITS,
) -> list[BitsPoint]:
    """Vary the bits of an impact; kept terms as `settings` say; arguments as for `sweep_terms`."""
    found = calibrate(encoder, images, texts, data, [settings.image_top_k], settings.text_top_k, bits)
    return [BitsPoint(o.bits, o.scale, o.text_to_image, o.image_to_text) for o in found.outcomes]


def _microseconds(documents: ImpactMatrix, queries: ImpactMatrix) -> float:
    index = ImpactIndex.build(documents)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        index.search(queries, CUTOFFS[-1], 1)
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / len(queries)
