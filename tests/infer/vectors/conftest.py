"""One batch, sparse and dense."""

from __future__ import annotations

import pytest
from dense_rows import Dense, batch_of, random_dense

from lexlip_infer.vectors.sparse_batch import SparseBatch


@pytest.fixture
def dense() -> Dense:
    return random_dense(7, 13)


@pytest.fixture
def batch(dense: Dense) -> SparseBatch:
    return batch_of(dense)
