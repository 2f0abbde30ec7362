"""Where the first relevant document of a query stands, for every query, in flat memory.

A document is relevant to a query when the two carry the same label. Ties go to the lower row, as in the index. A
document that shares no term with the query is not found; where that holds for all relevant ones, the rank is N + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.evaluation.recall import CUTOFFS, Recall
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

__all__ = ["Labels", "Ranks", "impact_ranks", "rank_of_best", "recall_of", "similarity_ranks"]

Ranks = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]

#: Scores held at a time, 4 bytes each and a few masks of one.
_SCORES = 2**23


@dataclass(frozen=True, slots=True)
class _Relevance:
    """Labels of queries (Q,) and of documents (N,)."""

    queries: Labels
    documents: Labels

    def chunks(self) -> Iterator[slice]:
        """Runs of queries whose scores fit into memory."""
        size = max(1, _SCORES // max(1, len(self.documents)))
        return (slice(start, start + size) for start in range(0, len(self.queries), size))


def similarity_ranks(
    encoder: LexLIPEncoder, queries: SparseBatch, documents: SparseBatch, query_labels: Labels, document_labels: Labels
) -> Ranks:
    """Ranks (Q,), from 1, under the model's similarity of un-pruned vectors.

    Args:
        encoder: for its similarity.
        queries: (Q, V).
        documents: (N, V).
        query_labels: (Q,).
        document_labels: (N,).
    """
    relevance = _Relevance(query_labels, document_labels)
    found = [
        rank_of_best(encoder.similarity(queries[rows], documents), query_labels[rows], document_labels)
        for rows in relevance.chunks()
    ]
    return np.concatenate([np.zeros(0, np.int64), *found])


def rank_of_best(scores: npt.NDArray[np.float32], query_labels: Labels, document_labels: Labels) -> Ranks:
    """Ranks (Q,) from scores (Q, N): one more than the documents that stand before the best relevant one."""
    own = np.where(query_labels[:, None] == document_labels, scores, 0)
    row = own.argmax(axis=1)
    best = own.max(axis=1)
    before = (scores > best[:, None]).sum(axis=1)
    before += ((scores == best[:, None]) & (np.arange(scores.shape[1]) < row[:, None])).sum(axis=1)
    ranks: Ranks = np.where(best > 0, before + 1, scores.shape[1] + 1)
    return ranks


def impact_ranks(
    queries: ImpactMatrix, documents: ImpactMatrix, query_labels: Labels, document_labels: Labels, threads: int
) -> Ranks:
    """Ranks (Q,), from 1, of impacts in an inverted index, by exact search of the whole ranking; arguments as above."""
    index = ImpactIndex.build(documents)
    found = [np.zeros(0, np.int64)]
    for rows in _Relevance(query_labels, document_labels).chunks():
        ranked = index.search(queries[rows], len(document_labels), threads).rows
        hits = (ranked >= 0) & (document_labels[ranked] == query_labels[rows, None])
        found.append(np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, len(document_labels) + 1))
    return np.concatenate(found)


def recall_of(ranks: Ranks) -> Recall:
    """Recall at 1, 5 and 10."""
    return Recall(*(100.0 * float((ranks <= cutoff).mean()) for cutoff in CUTOFFS))
