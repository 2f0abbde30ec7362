"""impact_dot in C++ (kernels/cpp/impact_dot/impact_index.cpp), which fills arrays that are allocated here.

Arguments are checked by the caller; the C++ does not look at them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lexlip_kernels import _native
from lexlip_kernels.impact_dot.checks import num_chunks

if TYPE_CHECKING:
    import numpy.typing as npt

    from lexlip_kernels.impact_dot import ImpactIndex, Impacts
    from lexlip_kernels.impact_matrix import ImpactMatrix


def build_postings(
    matrix: ImpactMatrix, dtype: type[np.uint8 | np.uint16]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16], Impacts]:
    """Transpose documents into `(term_offsets (C*V+1,), posting_docs (nnz,), posting_impacts (nnz,) of dtype)`."""
    term_offsets = np.empty(num_chunks(len(matrix)) * matrix.vocab_size + 1, np.int64)
    posting_docs = np.empty(len(matrix.indices), np.uint16)
    size = len(matrix.indices)
    posting_impacts: Impacts = np.empty(size, np.uint8) if dtype is np.uint8 else np.empty(size, np.uint16)
    _native.impact_build_postings(
        matrix.indptr,
        matrix.indices,
        matrix.impacts,
        matrix.vocab_size,
        term_offsets,
        posting_docs,
        posting_impacts,
    )
    return term_offsets, posting_docs, posting_impacts


def search(
    index: ImpactIndex, queries: ImpactMatrix, k: int, threads: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The k best documents of each query as `(rows (Q, k), scores (Q, k))`, padded with -1 / 0."""
    rows = np.empty((len(queries), k), np.int32)
    scores = np.empty((len(queries), k), np.int32)
    _native.impact_search(
        index.term_offsets,
        index.posting_docs,
        index.posting_impacts,
        index.num_docs,
        index.vocab_size,
        queries.indptr,
        queries.indices,
        queries.impacts,
        threads,
        rows,
        scores,
    )
    return rows, scores
