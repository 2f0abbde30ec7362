"""Where the first relevant document of a query stands, and recall from it: the one evaluator of ranks.

Training, export, the experiments and `lexlip eval` all count with it. A document is relevant to a query when the two
carry the same label: each caption carries the row of its photograph. Ties go to the lower row, as in the index.
Following the usual protocol, a query counts as found at k when any of its relevant documents is among the first k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from lexlip_kernels.impact_dot import ImpactIndex

if TYPE_CHECKING:
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.vectors.sparse_batch import SparseBatch
    from lexlip_kernels import ImpactMatrix

#: (Q,), from 1. Of a query that does not find any relevant document it is one more than there are documents, and more
#: than every cutoff, so that no recall counts it.
Ranks = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]

CUTOFFS = (1, 5, 10)

#: Scores held at a time, 4 bytes each and a few masks of one.
_SCORES = 2**23


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of queries, in per cent, with a relevant document among the first 1, 5 and 10."""

    at_1: float
    at_5: float
    at_10: float

    @classmethod
    def of(cls, ranks: Ranks) -> Self:
        """Recall of these queries."""
        return cls(*(100.0 * float((ranks <= cutoff).mean()) for cutoff in CUTOFFS))

    def __str__(self) -> str:
        return f"{self.at_1:.1f}/{self.at_5:.1f}/{self.at_10:.1f}"

    def total(self) -> float:
        """Sum of the three, the usual criterion of model selection."""
        return self.at_1 + self.at_5 + self.at_10


def ranks_in_lists(ranked: npt.NDArray[np.integer], query_labels: Labels, document_labels: Labels) -> Ranks:
    """Ranks (Q,) from what a search gives.

    Args:
        ranked: (Q, k), rows of documents by rank, -1 where a query found fewer.
        query_labels: (Q,).
        document_labels: (N,).
    """
    hits = (ranked >= 0) & (document_labels[ranked] == query_labels[:, None])
    ranks: Ranks = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, _not_found(len(document_labels)))
    return ranks


def ranks_in_scores(
    scores: npt.NDArray[np.floating], query_labels: Labels, document_labels: Labels, above: float = 0
) -> Ranks:
    """Ranks (Q,) from scores (Q, N): one more than the documents that stand before the best relevant one.

    Args:
        scores: higher is better.
        query_labels: (Q,).
        document_labels: (N,).
        above: a document counts as found above this score only. Sparse vectors that share no term have 0; dense ones,
            whose every document is found, want minus infinity.
    """
    own = np.where(query_labels[:, None] == document_labels, scores, above)
    row = own.argmax(axis=1)
    best = own.max(axis=1)
    before = (scores > best[:, None]).sum(axis=1)
    before += ((scores == best[:, None]) & (np.arange(scores.shape[1]) < row[:, None])).sum(axis=1)
    ranks: Ranks = np.where(best > above, before + 1, _not_found(scores.shape[1]))
    return ranks


def similarity_ranks(
    encoder: LexLIPEncoder, queries: SparseBatch, documents: SparseBatch, query_labels: Labels, document_labels: Labels
) -> Ranks:
    """Ranks (Q,) under the model's similarity of un-pruned vectors, in flat memory.

    Args:
        encoder: for its similarity.
        queries: (Q, V).
        documents: (N, V).
        query_labels: (Q,).
        document_labels: (N,).
    """
    found = [
        ranks_in_scores(encoder.similarity(queries[rows], documents), query_labels[rows], document_labels)
        for rows in _chunks(len(queries), len(documents))
    ]
    return np.concatenate([np.zeros(0, np.int64), *found])


def impact_ranks(
    queries: ImpactMatrix,
    documents: ImpactMatrix,
    query_labels: Labels,
    document_labels: Labels,
    threads: int,
    depth: int | None = None,
) -> Ranks:
    """Ranks (Q,) of impacts in an inverted index, by exact search in flat memory.

    Args:
        queries: (Q, V).
        documents: (N, V).
        query_labels: (Q,).
        document_labels: (N,).
        threads: of the search.
        depth: results looked at, all N by default; what stands behind them counts as not found.
    """
    index, depth = ImpactIndex.build(documents), depth or len(documents)
    found = [
        ranks_in_lists(index.search(queries[rows], depth, threads).rows, query_labels[rows], document_labels)
        for rows in _chunks(len(queries), depth)
    ]
    return np.concatenate([np.zeros(0, np.int64), *found])


def score_recall(scores: npt.NDArray[np.floating], owner: Labels) -> tuple[Recall, Recall]:
    """Recall of text to image and of image to text, from a score for every pair.

    Args:
        scores: (texts, images), of vectors for which any score, be it negative, is a find.
        owner: for each text, the row of its image.
    """
    rows = np.arange(scores.shape[1])
    return (
        Recall.of(ranks_in_scores(scores, owner, rows, -np.inf)),
        Recall.of(ranks_in_scores(scores.T, rows, owner, -np.inf)),
    )


def similarity_recall(
    encoder: LexLIPEncoder, images: SparseBatch, texts: SparseBatch, owner: Labels
) -> tuple[Recall, Recall]:
    """Recall of un-pruned vectors under the model's similarity: text to image, image to text; `owner` as above."""
    rows = np.arange(len(images))
    return (
        Recall.of(similarity_ranks(encoder, texts, images, owner, rows)),
        Recall.of(similarity_ranks(encoder, images, texts, rows, owner)),
    )


def impact_recall(images: ImpactMatrix, texts: ImpactMatrix, owner: Labels, threads: int) -> tuple[Recall, Recall]:
    """Recall of impacts in an inverted index, by exact search: text to image, image to text; `owner` as above."""
    rows = np.arange(len(images))
    return (
        Recall.of(impact_ranks(texts, images, owner, rows, threads, CUTOFFS[-1])),
        Recall.of(impact_ranks(images, texts, rows, owner, threads, CUTOFFS[-1])),
    )


def _not_found(documents: int) -> int:
    return max(documents, CUTOFFS[-1]) + 1


def _chunks(queries: int, results: int) -> Iterator[slice]:
    """Runs of queries whose scores fit into memory."""
    size = max(1, _SCORES // max(1, results))
    return (slice(start, start + size) for start in range(0, queries, size))
