"""The small-scale experiment: every caption and every photograph is a query once, in both directions, fold by fold.

Un-pruned vectors under the model's similarity (what papers report) and quantised impacts in an inverted index (what a
user gets) stand side by side. A figure is the mean over folds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Manifest
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.evaluation.query_results import QueryResults, Section
from lexlip_infer.evaluation.ranks import CUTOFFS, Labels, Ranks, Recall, impact_ranks, similarity_ranks
from lexlip_infer.evaluation.significance import Interval, bootstrap_interval
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch

#: Names of the two directions, as in reports.
DIRECTIONS = ("text_to_image", "image_to_text")


@dataclass(frozen=True, slots=True)
class RankedQueries:
    """Ranks of Q queries.

    Attributes:
        ranks: (Q,), of the first relevant document, from 1; see `Ranks` for where none is found.
        clusters: (Q,), the photograph that a query belongs to.
        folds: (Q,), the fold it was searched in.
    """

    ranks: Ranks
    clusters: Labels
    folds: npt.NDArray[np.int64]

    def recall(self) -> Recall:
        """At 1, 5 and 10, in per cent."""
        figures = [Recall.of(ranks) for ranks in self._by_fold()]
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

    def record(self) -> dict[str, Any]:
        """Recall of impacts under the direction's name, of full vectors with `_full` behind it, then the rest."""
        record: dict[str, Any] = {}
        intervals: dict[str, Any] = {}
        ranks: dict[str, Any] = {}
        for direction in DIRECTIONS:
            for name, ranked in ((direction, self.impacts[direction]), (f"{direction}_full", self.full[direction])):
                figures = asdict(ranked.recall()).items()
                record[name] = {key.replace("at_", "r@"): round(value, 2) for key, value in figures}
                intervals[name] = {f"r@{k}": [round(end, 2) for end in ends] for k, ends in ranked.intervals().items()}
                ranks[name] = {"mean": round(ranked.mean_rank(), 2), "median": round(ranked.median_rank(), 2)}
        return record | {"intervals_95": intervals, "ranks": ranks}

    def query_results(self, names: tuple[list[str], list[str]], system: str, data: str) -> QueryResults:
        """What every query got.

        Args:
            names: of photographs and of captions.
            system: what was measured, for people.
            data: what it was measured on, for people.
        """
        images, captions = names
        sections = {}
        for direction, queries in zip(DIRECTIONS, (captions, images), strict=True):
            for kind, ranked in (("full vectors", self.full[direction]), ("impacts", self.impacts[direction])):
                clusters = [images[image] for image in ranked.clusters]
                section = Section.of_ranks(queries, clusters, ranked.ranks, CUTOFFS)
                sections[f"{direction.replace('_', ' ')}, {kind}"] = section
        return QueryResults(system=system, data=data, sections=sections)


@dataclass(frozen=True, slots=True)
class Settings:
    """How vectors are cut and quantised, and the collection divided.

    Attributes:
        image_top_k: terms kept of an image before quantising.
        text_top_k: terms kept of a text.
        scale: of the quantiser.
        folds: equal parts, in file order, that are searched each for itself.
        query_mode: how texts were encoded.
    """

    image_top_k: int
    text_top_k: int
    scale: float
    folds: int = 1
    query_mode: str = "tower"

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

    def quantisation(self, manifest: Manifest) -> QuantisationSettings:
        """The same scale with the cap and the norm of a model."""
        return QuantisationSettings(self.scale, manifest.quantisation.cap, manifest.similarity == "cosine")

    def __str__(self) -> str:
        kept = f"image top-{self.image_top_k}, text top-{self.text_top_k}"
        texts = "" if self.query_mode == "tower" else f", texts by {self.query_mode}"
        return f"integers x{self.scale:g}, {kept}{texts}, exact search"


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
    quantisation = settings.quantisation(encoder.manifest)
    image_fold, owner = data.fold_of_images(settings.folds), np.array(data.owner)
    # Photograph and fold of each text, and of each image.
    clusters, folds = (owner, np.arange(len(images))), (image_fold[owner], image_fold)
    full: tuple[list[Ranks], list[Ranks]] = ([], [])
    impacts: tuple[list[Ranks], list[Ranks]] = ([], [])
    for fold in range(settings.folds):
        rows = [np.flatnonzero(side == fold) for side in folds]
        labels = [side[own] for side, own in zip(clusters, rows, strict=True)]
        batches = (texts[rows[0]], images[rows[1]])
        kept = [
            quantise(batch.top_k(k), quantisation)
            for batch, k in zip(batches, (settings.text_top_k, settings.image_top_k), strict=True)
        ]
        for query, document in ((0, 1), (1, 0)):
            sides = labels[query], labels[document]
            full[query].append(similarity_ranks(encoder, batches[query], batches[document], *sides))
            impacts[query].append(impact_ranks(kept[query], kept[document], *sides, encoder.threads))

    # Folds are runs in file order, so that their ranks stand one behind the other in the order of all queries.
    def together(ranks: tuple[list[Ranks], list[Ranks]]) -> dict[str, RankedQueries]:
        columns = zip(DIRECTIONS, map(np.concatenate, ranks), clusters, folds, strict=True)
        return {name: RankedQueries(column, cluster, fold) for name, column, cluster, fold in columns}

    return SmallScale(together(full), together(impacts))
