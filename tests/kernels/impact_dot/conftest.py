"""Collections and queries for the impact_dot tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from lexlip_kernels import ImpactMatrix

Documents = Sequence[dict[int, int]]


def from_dicts(rows: Documents, vocab_size: int) -> ImpactMatrix:
    """One `{term: impact}` per row."""
    terms = [sorted(row) for row in rows]
    return ImpactMatrix(
        np.cumsum([0, *map(len, terms)], dtype=np.int64),
        np.array([term for row in terms for term in row], np.int32),
        np.array([row[term] for row, ids in zip(rows, terms, strict=True) for term in ids], np.int32),
        vocab_size,
    )


def from_dense(dense: npt.NDArray[np.int64]) -> ImpactMatrix:
    """The positive entries of an (N, V) array."""
    rows, terms = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))]).astype(np.int64)
    return ImpactMatrix(indptr, terms.astype(np.int32), dense[rows, terms].astype(np.int32), dense.shape[1])


def random_impacts(rows: int, vocab_size: int, terms: int, seed: int, largest: int = 255) -> ImpactMatrix:
    """About `terms` impacts a row."""
    random = np.random.default_rng(seed)
    kept = random.random((rows, vocab_size)) < terms / vocab_size
    kept[:1] = kept[-1:] = False  # an empty row at either end
    return from_dense(random.integers(1, largest + 1, (rows, vocab_size)) * kept)


@pytest.fixture(scope="session")
def matrix_from_dicts() -> Callable[[Documents, int], ImpactMatrix]:
    return from_dicts


@pytest.fixture(scope="session")
def matrix_from_dense() -> Callable[[npt.NDArray[np.int64]], ImpactMatrix]:
    return from_dense


@pytest.fixture(scope="session")
def random_matrix() -> Callable[..., ImpactMatrix]:
    return random_impacts
