"""The small-scale experiment: every caption and every photograph is a query once, in both directions, fold by fold.

Un-pruned vectors under the model's similarity (what papers report) and quantised impacts in an inverted index (what a
user gets) stand side by side. A figure is the mean over folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Manifest
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.evaluation.ranks import Labels, Ranks, impact_ranks, recall_of, similarity_ranks
from lexlip_infer.evaluation.recall import CUTOFFS, Recall
from lexlip_infer.evaluation.significance import Interval, bootstrap_interval
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch

__all__ = ["DIRECTIONS", "RankedQueries", "Settings", "SmallScale", "evaluate_small_scale"]

#: Names of the two directions, as in reports.
DIRECTIONS = ("text_to_image", "image_to_text")


@dataclass(frozen=True, slots=True)
class RankedQueries:
    """Ranks of Q queries.

    Attributes:
        ranks: (Q,), of the first relevant document, from 1; one more than there are documents where none is found.
        clusters: (Q,), the photograph that a query belongs to.
        folds: (Q,), the fold it was searched in.
    """

    ranks: Ranks
    clusters: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]

    def recall(self) -> Recall:
        """At 1, 5 and 10, in per cent."""
        figures = [recall_of(ranks) for ranks in self._by_fold()]
        return Recall(*(float(np.mean([getattr(f, f"at_{k}") for f in figures])) for k in CUTOFFS))

    def intervals(self) -> dict[int, Interval]:
        """For each cutoff, the 95 % bootstrap interval of recall in per cent, over photographs."""
        hits = {k: np.where(self.ranks <= k, 100.0, 0.0) for k in CUTOFFS}
        return {k: bootstrap_interval(values, self.clusters) for k, values in hits.items()}

    def mean_rank(self) -> float:
        """Mean of the ranks."""
        return float(np.mean([ranks.mean() for ranks in self._by_fold()]))

    def median_rank(self) -> float:
        """Median of the ranks; of an even number, the mean of the two in the middle."""
        return float(np.mean([np.median(ranks) for ranks in self._by_fold()]))

    def _by_fold(self) -> list[Ranks]:
        return [self.ranks[self.folds == fold] for fold in np.unique(self.folds)]


@dataclass(frozen=True, slots=True)
class SmallScale:
    """Both directions, each with both kinds of vectors; keys are of `DIRECTIONS`."""

    full: dict[str, RankedQueries]
    impacts: dict[str, RankedQueries]


@dataclass(frozen=True, slots=True)
class Settings:
    """How vectors are cut and quantised, and the collection divided.

    Attributes:
        image_top_k: terms kept of an image before quantising.
        text_top_k: terms kept of a text.
        scale: of the quantiser.
        folds: equal parts, in file order, that are searched each for itself.
    """

    image_top_k: int
    text_top_k: int
    scale: float
    folds: int = 1

    @classmethod
    def of(cls, manifest: Manifest, image_top_k: int | None, text_top_k: int | None, scale: float | None) -> Settings:
        """What was asked for, the model's defaults for the rest, at most V terms.

        Raises:
            InputError: the scale is out of range.
        """
        chosen = manifest.quantisation.scale if scale is None else scale
        QuantisationSettings(chosen)  # refuses now, not after everything is encoded
        image_k, text_k = image_top_k or manifest.top_k.image, text_top_k or manifest.top_k.text
        return cls(min(image_k, manifest.vocab_size), min(text_k, manifest.vocab_size), chosen)


def evaluate_small_scale(
    encoder: LexLIPEncoder, images: SparseBatch, texts: SparseBatch, data: CaptionedImages, settings: Settings
) -> SmallScale:
    """Rank everything.

    Args:
        encoder: for its similarity and its quantiser's cap.
        images: (N, V), un-pruned.
        texts: un-pruned, in the order of `data.captions`.
        data: who belongs to whom.
        settings: of the experiment.

    Raises:
        InputError: the photographs cannot be divided into so many folds, or the scale is out of range.
    """
    manifest = encoder.manifest
    quantisation = QuantisationSettings(settings.scale, manifest.quantisation.cap, manifest.similarity == "cosine")
    sides = _sides(data, settings.folds)
    full, impacts = [], []
    for fold in range(settings.folds):
        rows = [np.flatnonzero(side.folds == fold) for side in sides]
        labels = [side.clusters[own] for side, own in zip(sides, rows, strict=True)]
        some_texts, some_images = texts[rows[0]], images[rows[1]]
        full.append(
            [
                similarity_ranks(encoder, some_texts, some_images, labels[0], labels[1]),
                similarity_ranks(encoder, some_images, some_texts, labels[1], labels[0]),
            ]
        )
        text_impacts = quantise(some_texts.top_k(settings.text_top_k), quantisation)
        image_impacts = quantise(some_images.top_k(settings.image_top_k), quantisation)
        impacts.append(
            [
                impact_ranks(text_impacts, image_impacts, labels[0], labels[1], encoder.threads),
                impact_ranks(image_impacts, text_impacts, labels[1], labels[0], encoder.threads),
            ]
        )
    return SmallScale(_collect(full, sides), _collect(impacts, sides))


@dataclass(frozen=True, slots=True)
class _Side:
    """Photograph and fold of each text, or of each image."""

    clusters: Labels
    folds: npt.NDArray[np.int64]


def _sides(data: CaptionedImages, folds: int) -> tuple[_Side, _Side]:
    owner, fold_of_image = np.array(data.owner), data.fold_of_images(folds)
    return _Side(owner, fold_of_image[owner]), _Side(np.arange(len(data.images)), fold_of_image)


def _collect(folds: list[list[Ranks]], sides: tuple[_Side, _Side]) -> dict[str, RankedQueries]:
    """Folds are runs in file order, so that their ranks stand one behind the other in the order of all queries."""
    return {
        name: RankedQueries(np.concatenate(ranks), side.clusters, side.folds)
        for name, ranks, side in zip(DIRECTIONS, zip(*folds, strict=True), sides, strict=True)
    }
