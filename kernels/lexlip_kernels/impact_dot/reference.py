"""The definition of impact_dot, in numpy: `score(d) = sum over terms t of query[t] * document d[t]`.

Slow and obvious on purpose: a dense integer product per query and a full stable sort. It is the fallback
where the compiled module does not load, and what every other backend is tested against. Arguments are checked
by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lexlip_kernels.impact_dot.checks import CHUNK_DOCS, num_chunks

if TYPE_CHECKING:
    import numpy.typing as npt

    from lexlip_kernels.impact_dot import ImpactIndex, Impacts
    from lexlip_kernels.impact_matrix import ImpactMatrix


def build_postings(
    matrix: ImpactMatrix, dtype: type[np.uint8 | np.uint16]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16], Impacts]:
    """Transpose documents into `(term_offsets (C*V+1,), posting_docs (nnz,), posting_impacts (nnz,) of dtype)`."""
    doc_of_impact = matrix.row_numbers
    buckets = doc_of_impact // CHUNK_DOCS * matrix.vocab_size + matrix.indices
    order = np.argsort(buckets, kind="stable")
    lengths = np.bincount(buckets, minlength=num_chunks(len(matrix)) * matrix.vocab_size)
    term_offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    posting_docs = (doc_of_impact % CHUNK_DOCS).astype(np.uint16)
    impacts = matrix.impacts[order]
    narrow = dtype is np.uint8
    return term_offsets, posting_docs[order], impacts.astype(np.uint8) if narrow else impacts.astype(np.uint16)


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
    for dense, term in zip(impacts, terms.tolist(), strict=True):
        for chunk in range(index.num_chunks):
            docs, held = index.postings(chunk, term)
            dense[chunk * CHUNK_DOCS + docs.astype(np.int64)] = held
    return weights.astype(np.int64) @ impacts
