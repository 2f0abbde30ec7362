"""Documents as impacts: test photographs, real distractors and synthetic ones, at one number of kept terms.

Test photographs are cut and quantised from their full vectors. Outputs of lexlip-encode hold integers that were cut
before: they are cut further, brought back to unit length where the model's similarity is the cosine, and rounded
again, which differs from quantising the weights by at most a rounding.

Synthetic documents are for speed and size. Three distributions are taken from the real ones as they are: the number of
terms of a document, the share of documents that hold a term, and the impacts a term has where it occurs. A synthetic
document draws its length; then its terms by systematic sampling (Madow 1949), which gives distinct terms, exactly as
many, each with the probability it is meant to have; then for each term the impact of one of its real postings. Posting
lists so have the lengths and the impacts of real ones at any size, which is what an inverted index is fast or slow by.
Which terms occur together is not modelled: a synthetic document is about nothing, and can say nothing about the quality
of retrieval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from lexlip_infer.bench.large_scale.settings import Settings
from lexlip_infer.collection.collection import Collection
from lexlip_infer.collection.manifest import read_manifest
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings, fill_empty, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_matrix import row_offsets

#: Documents of a part file.
_PART = 20_000

#: Real documents that synthetic ones are drawn from, at most; more would change little.
_FITTED = 50_000

Chunk = tuple[list[str], ImpactMatrix]


def open_distractors(settings: Settings, vocabulary: Vocabulary) -> list[Collection]:
    """Outputs of lexlip-encode that fit the experiment.

    Raises:
        InputError: one was encoded with another model, other settings of the quantiser, or fewer terms than are
            compared, or is incomplete.
        OutputError: one is no such output, or has changed.
    """
    outputs = []
    for name in settings.distractors:
        manifest = read_manifest(Path(name))
        ours = (settings.model_fingerprint, settings.scale, settings.cap, settings.normalise)
        theirs = manifest.settings
        if (theirs.model_fingerprint, theirs.scale, theirs.cap, theirs.normalise) != ours:
            raise InputError(
                f"{name} was encoded with {theirs.model_name} (scale {theirs.scale:g}, cap {theirs.cap}), the test "
                f"collection with {settings.model_name} (scale {settings.scale:g}, cap {settings.cap}): encode it anew"
            )
        if theirs.top_k < max(settings.top_ks):
            raise InputError(
                f"{name} keeps {theirs.top_k} terms, the experiment compares up to {max(settings.top_ks)}: encode it "
                f"again with --top-k {max(settings.top_ks)}, or compare fewer"
            )
        outputs.append(Collection.open_output(Path(name), vocabulary=vocabulary))
    return outputs


class ImpactDocuments:
    """All documents of the experiment at one number of kept terms.

    Args:
        settings: of the experiment.
        top_k: kept terms.
        images: (N, V) full vectors of the test photographs.
        image_ids: N.
        distractors: as `open_distractors` gives them.
        placeholder_id: stands in for an empty vector.
    """

    def __init__(
        self,
        settings: Settings,
        top_k: int,
        images: SparseBatch,
        image_ids: Sequence[str],
        distractors: Sequence[Collection],
        placeholder_id: int,
    ) -> None:
        self._settings = settings
        self._top_k = top_k
        self._quantisation = QuantisationSettings(settings.scale, settings.cap, settings.normalise)
        self._test = (list(image_ids), self._cut(images))
        self._distractors = distractors
        self._placeholder_id = placeholder_id

    def write(self, folder: Path, terms: Sequence[str]) -> dict[str, int]:
        """Write part files of JSON lines into `folder`, and nothing else.

        Returns:
            `documents`, `synthetic` ones among them, `postings` and `impact_sum` of all.
        """
        folder.mkdir(parents=True)
        writer = JsonLinesWriter(terms)
        documents = postings = impact_sum = 0
        for number, (ids, impacts) in enumerate(self._chunks()):
            filled, _ = fill_empty(impacts, self._placeholder_id)
            (folder / f"part-{number:05d}.jsonl").write_bytes(writer.encode(ids, filled))
            documents += len(ids)
            postings += len(filled.indices)
            impact_sum += int(filled.impacts.sum(dtype=np.int64))
        facts = {"documents": documents, "synthetic": self._settings.synthetic}
        return facts | {"postings": postings, "impact_sum": impact_sum}

    def _chunks(self) -> Iterator[Chunk]:
        yield self._test
        yield from self._real_distractors()
        if self._settings.synthetic:
            batches = self._distribution().batches(self._settings.synthetic, self._settings.seed, _PART)
            for number, batch in enumerate(batches):
                yield [f"synthetic/{number * _PART + row:09d}" for row in range(len(batch))], batch

    def _real_distractors(self) -> Iterator[Chunk]:
        for number, output in enumerate(self._distractors):
            for ids, impacts in output.chunks():
                yield [f"distractor-{number}/{name}" for name in ids], self._cut(self._as_weights(impacts))

    def _distribution(self) -> ImpactDistribution:
        sample, size = [self._test[1]], len(self._test[1])
        for _, impacts in self._real_distractors():
            if size >= _FITTED:
                break
            sample.append(impacts)
            size += len(impacts)
        return ImpactDistribution.fit(ImpactMatrix.concatenate(sample))

    def _cut(self, weights: SparseBatch) -> ImpactMatrix:
        return quantise(weights.top_k(self._top_k), self._quantisation)

    def _as_weights(self, impacts: ImpactMatrix) -> SparseBatch:
        weights = (impacts.impacts / self._settings.scale).astype(np.float32)
        return SparseBatch(impacts.indptr, impacts.indices, weights, impacts.vocab_size)


#: Below 1 by more than rounding: with a probability of 1 and above, sampling might take a term twice.
_ALMOST_CERTAIN = 1 - 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ImpactDistribution:
    """What is drawn from. Build it with `fit`.

    Attributes:
        lengths: (N,), terms of each real document.
        postings: (V, N), the impacts of each term one after the other.
    """

    lengths: npt.NDArray[np.int64]
    postings: csr_array

    @classmethod
    def fit(cls, matrix: ImpactMatrix) -> ImpactDistribution:
        """Take the distributions of (N, V) real documents.

        Raises:
            InputError: there is no document, or none has a term.
        """
        if not len(matrix.indices):
            raise InputError(f"{len(matrix)} documents without a single term; synthetic ones are drawn from real ones")
        documents = csr_array((matrix.impacts, matrix.indices, matrix.indptr), (len(matrix), matrix.vocab_size))
        return cls(matrix.lengths, documents.T.tocsr())

    @property
    def document_frequencies(self) -> npt.NDArray[np.int64]:
        """Real documents that hold each term, (V,)."""
        frequencies: npt.NDArray[np.int64] = np.diff(self.postings.indptr).astype(np.int64)
        return frequencies

    def batches(self, count: int, seed: int, size: int = 20_000) -> Iterator[ImpactMatrix]:
        """`count` documents in batches of `size`: the same ones for the same arguments."""
        for number, first in enumerate(range(0, count, size)):
            yield self.draw(min(size, count - first), np.random.default_rng((seed, number)))

    def draw(self, count: int, generator: np.random.Generator) -> ImpactMatrix:
        """Draw (count, V) documents."""
        lengths = generator.choice(self.lengths, count)
        indptr = row_offsets(lengths)
        indices = np.empty(indptr[-1], np.int32)
        for length in np.unique(lengths[lengths > 0]):
            rows = np.flatnonzero(lengths == length)
            places = indptr[rows, None] + np.arange(length)
            indices[places] = self._terms(len(rows), int(length), generator)
        return ImpactMatrix(indptr, indices, self._impacts(indices, generator), int(self.postings.shape[0]))

    def _terms(self, count: int, length: int, generator: np.random.Generator) -> npt.NDArray[np.int32]:
        """(count, length), terms ascending within a row."""
        order = generator.permutation(np.flatnonzero(self.document_frequencies))
        ends = np.cumsum(_inclusion(self.document_frequencies[order], length))
        ends *= length / ends[-1]
        points = generator.random((count, 1)) + np.arange(length)
        chosen = np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)
        terms: npt.NDArray[np.int32] = np.sort(order[chosen].astype(np.int32), axis=1)
        return terms

    def _impacts(self, terms: npt.NDArray[np.int32], generator: np.random.Generator) -> npt.NDArray[np.int32]:
        frequencies = self.document_frequencies[terms]
        drawn = (generator.random(len(terms)) * frequencies).astype(np.int64)
        found: npt.NDArray[np.int32] = self.postings.data[self.postings.indptr[terms] + drawn]
        return found.astype(np.int32)


def _inclusion(frequencies: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.float64]:
    """Probability of each term to be in a document of `length` terms: proportional to its frequency, at most 1."""
    if length >= len(frequencies):
        return np.ones(len(frequencies))
    share = frequencies / frequencies.sum()
    certain = np.zeros(len(share), bool)
    while True:
        factor = (length - _ALMOST_CERTAIN * certain.sum()) / share[~certain].sum()
        more = ~certain & (share * factor > _ALMOST_CERTAIN)
        if not more.any():
            return np.where(certain, _ALMOST_CERTAIN, share * factor)
        certain |= more


def synthetic_unit_vectors(
    count: int, size: int, seed: int, like: npt.NDArray[np.float32] | None = None, batch: int = 20_000
) -> Iterator[npt.NDArray[np.float32]]:
    """Dense unit vectors in batches of (<= batch, size).

    Args:
        count: vectors in all.
        size: their dimension; that of `like` where it is given.
        seed: the same one gives the same vectors.
        like: (N, size) real ones, whose mean and covariance are taken over; without them, every direction is as likely.
        batch: vectors at a time.
    """
    mean, factor = _gaussian(like) if like is not None else (np.zeros(size, np.float32), None)
    for number, first in enumerate(range(0, count, batch)):
        generator = np.random.default_rng((seed, number))
        drawn = generator.standard_normal((min(batch, count - first), size), np.float32)
        vectors = mean + (drawn if factor is None else drawn @ factor)
        yield vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _gaussian(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean (D,), and a factor (D, D) whose product with its transpose is the covariance, of any rank."""
    mean = vectors.mean(axis=0)
    _, spread, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    factor = spread[:, None] * axes / np.sqrt(len(vectors))
    missing = max(0, vectors.shape[1] - len(factor))
    return mean, np.pad(factor, ((0, missing), (0, 0))).astype(np.float32)
