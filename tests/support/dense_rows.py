"""Sparse batches made of dense rows, which are the reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lexlip_infer.vectors.sparse_batch import SparseBatch

Dense = npt.NDArray[np.float32]


def batch_of(dense: Dense) -> SparseBatch:
    rows, terms = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))]).astype(np.int64)
    return SparseBatch(indptr, terms.astype(np.int32), dense[rows, terms], dense.shape[1])


def random_dense(rows: int, vocab_size: int, seed: int = 0) -> Dense:
    random = np.random.default_rng(seed)
    dense = random.random((rows, vocab_size), np.float32) + np.float32(0.01)
    dense[random.random((rows, vocab_size)) < 0.7] = 0
    dense[rows // 2] = 0  # a row without a term
    return dense


def near(a: SparseBatch, b: SparseBatch) -> bool:
    return len(a) == len(b) and np.allclose(a.to_dense(), b.to_dense(), atol=1e-4)
