"""Synthetic documents for speed and size: drawn from the term and weight distributions of real ones.

Three distributions are taken from a real collection as they are: the number of terms of a document, the share of
documents that hold a term, and the impacts a term has where it occurs. A synthetic document draws its length; then its
terms by systematic sampling (Madow 1949), which gives distinct terms, exactly as many, each with the probability it is
meant to have; then for each term the impact of one of its real postings. Posting lists so have the lengths and the
impacts of real ones at any size, which is what an inverted index is fast or slow by.

Which terms occur together is not modelled: a synthetic document is about nothing. It can say how fast and how large an
index is, and nothing about the quality of retrieval. Word counts of texts are drawn in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from lexlip_infer.errors import InputError
from lexlip_kernels import ImpactMatrix

__all__ = ["ImpactDistribution", "synthetic_unit_vectors"]

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
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
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
