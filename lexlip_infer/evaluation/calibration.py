"""How few terms and bits are enough: settings of the quantiser against recall lost and index cost, on real pairs.

Encoding is done once, un-pruned; every setting is then a cut, a rounding, and an exact search in both directions.
With b bits the cap is 2^b - 1. The scale has to serve both sides: a text has few terms, so that its normalised weights
are larger than an image's, and what suits the one clips the other or wastes bits. Three scales are tried for every
pair of kept terms and bits, from what just fits the texts to what just fits the images, and the best counts.

`calibrate` tries bits, too; `sweep_terms` varies kept terms alone, for the plots of `lexlip eval --plot`, and times the
search: exact, for the 10 best documents of every query, one thread, all queries in one call, divided by their
number, without encoding. On a collection of a few thousand that says how settings compare, not how fast a large index
is.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import InputError
from lexlip_infer.evaluation.ranks import CUTOFFS, Recall, impact_recall, similarity_recall
from lexlip_infer.evaluation.small_scale import Settings
from lexlip_infer.impacts import QuantisationSettings, fitting_scale, largest_weight, lifted_terms, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

#: An impact fits 16 bits.
MAX_BITS = 16

#: What plots show.
KEPT_TERMS = (8, 16, 32, 64, 128, 256, 512)
BITS = (1, 2, 3, 4, 6, 8)

#: Tried for every pair of kept terms and bits.
_SCALES = 3

#: The best of so many searches counts: others disturb a search, nothing speeds it up.
_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """One setting and what it does.

    Attributes:
        bits: of an impact.
        image_top_k: kept terms of an image.
        text_top_k: kept terms of a text.
        scale: of the quantiser.
        text_to_image: recall.
        image_to_text: recall.
        loss: points of mean recall below that of full vectors; negative where the setting did better.
        postings: stored impacts of an image, on average: what an index grows with.
        impact_sum: of an image, on average: what the time of Anserini's indexer grows with.
        lifted: share of kept terms of both sides whose weight would round to 0; see `impacts.scale`.
    """

    bits: int
    image_top_k: int
    text_top_k: int
    scale: float
    text_to_image: Recall
    image_to_text: Recall
    loss: float
    postings: float
    impact_sum: float
    lifted: float

    @property
    def cap(self) -> int:
        """The largest impact."""
        return (1 << self.bits) - 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """All settings that were tried, beside full vectors under the model's similarity."""

    text_to_image: Recall
    image_to_text: Recall
    outcomes: tuple[Outcome, ...]

    def recommend(self, tolerance: float) -> Outcome:
        """The cheapest setting whose loss is within `tolerance` points: fewest postings, then smallest impacts.

        Raises:
            InputError: none is.
        """
        good = [outcome for outcome in self.outcomes if outcome.loss <= tolerance]
        if not good:
            best = min(self.outcomes, key=lambda outcome: outcome.loss)
            raise InputError(
                f"no setting loses at most {tolerance:g} points of mean recall; the best, top-{best.image_top_k} with "
                f"{best.bits} bits, loses {best.loss:.2f}: try more terms or bits, or a larger tolerance"
            )
        return min(good, key=lambda outcome: (outcome.postings, outcome.impact_sum))


def calibrate(
    encoder: LexLIPEncoder,
    images: SparseBatch,
    texts: SparseBatch,
    data: CaptionedImages,
    image_top_ks: Sequence[int],
    text_top_k: int,
    bits: Sequence[int],
    progress: Callable[[int], None] = lambda _: None,
) -> Calibration:
    """Try every pair of kept terms and bits.

    Args:
        encoder: for its similarity and threads.
        images: (N, V), un-pruned.
        texts: un-pruned, in the order of `data.captions`.
        data: who belongs to whom.
        image_top_ks: kept terms of an image to try.
        text_top_k: kept terms of a text.
        bits: of an impact, to try; 1 to 16.
        progress: told how many settings are done.

    Raises:
        InputError: a number of bits is out of range.
    """
    if not all(1 <= number <= MAX_BITS for number in bits):
        raise InputError(f"bits are {', '.join(map(str, bits))}; expected 1 to {MAX_BITS}")
    owner = np.array(data.owner)
    full = similarity_recall(encoder, images, texts, owner)
    normalise = encoder.manifest.similarity == "cosine"
    kept_texts = texts.top_k(text_top_k)
    outcomes = []
    for done, (top_k, number) in enumerate(itertools.product(image_top_ks, bits), start=1):
        kept = images.top_k(top_k)
        cap = (1 << number) - 1
        tried = []
        largest_text, largest_image = largest_weight(kept_texts, normalise), largest_weight(kept, normalise)
        for largest in np.geomspace(largest_text, largest_image, _SCALES):
            settings = QuantisationSettings(fitting_scale(float(largest), cap), cap, normalise)
            impacts = quantise(kept, settings)
            found = impact_recall(impacts, quantise(kept_texts, settings), owner, encoder.threads)
            outcome = Outcome(
                number,
                top_k,
                text_top_k,
                settings.scale,
                *found,
                loss=_mean(full) - _mean(found),
                postings=impacts.nnz / len(impacts),
                impact_sum=float(impacts.impacts.sum(dtype=np.int64)) / len(impacts),
                lifted=_lifted_share(settings, kept, kept_texts),
            )
            tried.append(outcome)
        outcomes.append(min(tried, key=lambda outcome: outcome.loss))
        progress(done)
    return Calibration(*full, tuple(outcomes))


def _lifted_share(settings: QuantisationSettings, *batches: SparseBatch) -> float:
    return sum(lifted_terms(batch, settings) for batch in batches) / max(1, sum(batch.nnz for batch in batches))


def _mean(directions: tuple[Recall, Recall]) -> float:
    """Mean of the six recalls."""
    return sum(direction.total() for direction in directions) / 6


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
    owner, quantisation = np.array(data.owner), settings.quantisation(encoder.manifest)
    queries = quantise(texts.top_k(settings.text_top_k), quantisation)
    points = []
    for top_k in image_top_ks:
        if top_k <= encoder.manifest.vocab_size:
            documents = quantise(images.top_k(top_k), quantisation)
            recalls = impact_recall(documents, queries, owner, encoder.threads)
            times = _microseconds(documents, queries), _microseconds(queries, documents)
            points.append(TermsPoint(top_k, documents.nnz / len(documents), *recalls, *times))
    return points


def _microseconds(documents: ImpactMatrix, queries: ImpactMatrix) -> float:
    index = ImpactIndex.build(documents)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        index.search(queries, CUTOFFS[-1], 1)
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / len(queries)
