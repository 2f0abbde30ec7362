"""The definition of impact_dot, in numpy: `score(d) = sum over terms t of query[t] * document d[t]`.

Slow and obvious on purpose: a dense integer product per query and a full stable sort. It is the fallback
where the compiled module does not load, and what every other backend is tested against. Arguments are checked
by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from lexlip_kernels.impact_dot import ImpactIndex
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["build_postings", "search"]


def build_postings(
    matrix: ImpactMatrix,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.uint16]]:
    """Transpose documents into `(term_offsets (V+1,), posting_docs (nnz,), posting_impacts (nnz,))`."""
    by_term = np.argsort(matrix.indices, kind="stable")
    doc_of_impact = np.repeat(np.arange(len(matrix), dtype=np.int32), np.diff(matrix.indptr))
    lengths = np.bincount(matrix.indices, minlength=matrix.vocab_size)
    term_offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return term_offsets, doc_of_impact[by_term], matrix.impacts[by_term].astype(np.uint16)


def search(
    index: ImpactIndex,
    queries: ImpactMatrix,
    k: int,
    threads: int,  # noqa: ARG001  (every backend has the same signature)
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The k best documents of each query as `(rows (Q, k), scores (Q, k))`, padded with -1 / 0."""
    rows = np.full((len(queries), k), -1, np.int32)
    best_scores = np.zeros((len(queries), k), np.int32)
    for query in range(len(queries)):
        scores = _scores(index, *queries.row(query))
        ranked = np.argsort(-scores, kind="stable")
        hits = ranked[scores[ranked] > 0][:k]
        rows[query, : len(hits)] = hits
        best_scores[query, : len(hits)] = scores[hits]
    return rows, best_scores


def _scores(index: ImpactIndex, terms: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """All N scores of one query: its weights times the dense (terms, N) block of impacts."""
    impacts = np.zeros((len(terms), index.num_docs), np.int64)
    for dense, term in zip(impacts, terms, strict=True):
        postings = slice(index.term_offsets[term], index.term_offsets[term + 1])
        dense[index.posting_docs[postings]] = index.posting_impacts[postings]
    return weights.astype(np.int64) @ impacts
