"""Synthetic documents have the lengths, the frequencies and the impacts of the real ones they are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from lexlip_infer.bench.large_scale.impacts import ImpactDistribution, synthetic_unit_vectors
from lexlip_infer.errors import InputError
from lexlip_kernels import ImpactMatrix

V = 60


def real_documents(lengths: list[int]) -> ImpactMatrix:
    """Zipfian terms; the impacts of a term are its number, or one more."""
    generator = np.random.default_rng(0)
    share = 1 / np.arange(2, V + 2)
    rows = [np.sort(generator.choice(V, length, replace=False, p=share / share.sum())) for length in lengths]
    indices = np.concatenate([*rows, []]).astype(np.int32)
    indptr = np.cumsum([0, *lengths]).astype(np.int64)
    return ImpactMatrix(indptr, indices, (indices + 1 + generator.integers(0, 2, len(indices))).astype(np.int32), V)


def stacked(distribution: ImpactDistribution, count: int, seed: int = 0) -> list[ImpactMatrix]:
    return list(distribution.batches(count, seed, size=3000))


def test_every_document_is_valid_and_there_are_as_many_as_asked_for() -> None:
    batches = stacked(ImpactDistribution.fit(real_documents([3, 7, 7, 12, 0] * 40)), 7001)
    assert [len(batch) for batch in batches] == [3000, 3000, 1001]
    for batch in batches:
        batch.validate()
        assert set(np.diff(batch.indptr)) <= {0, 3, 7, 12}


def test_terms_are_as_frequent_as_in_real_documents() -> None:
    distribution = ImpactDistribution.fit(real_documents([10] * 400))
    drawn = sum(np.bincount(batch.indices, minlength=V) for batch in stacked(distribution, 20_000)) / 20_000
    # Systematic sampling gives each term exactly its probability: what remains is the noise of drawing.
    np.testing.assert_allclose(drawn, distribution.document_frequencies / 400, atol=0.015)


def test_impacts_are_those_of_the_term() -> None:
    matrix = stacked(ImpactDistribution.fit(real_documents([10] * 400)), 500)[0]
    offset = matrix.impacts - matrix.indices
    assert set(offset) == {1, 2}
    assert 0.4 < (offset == 1).mean() < 0.6


def test_the_same_seed_draws_the_same() -> None:
    distribution = ImpactDistribution.fit(real_documents([5] * 50))
    one, again, other = (stacked(distribution, 100, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.indices, again.indices)
    np.testing.assert_array_equal(one.impacts, again.impacts)
    assert (one.indices != other.indices).any()


@pytest.mark.parametrize("length", [1, V - 1, V])
def test_documents_of_one_term_and_of_nearly_all(length: int) -> None:
    matrix = stacked(ImpactDistribution.fit(real_documents([V, *[length] * 5])), 300)[0]
    matrix.validate()


def test_nothing_to_draw_from() -> None:
    with pytest.raises(InputError, match="2 documents without a single term"):
        ImpactDistribution.fit(ImpactMatrix(np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32), V))


def test_unit_vectors_are_of_length_one_in_every_direction() -> None:
    batches = list(synthetic_unit_vectors(5000, 8, seed=3, batch=2000))
    assert [batch.shape for batch in batches] == [(2000, 8), (2000, 8), (1000, 8)]
    vectors = np.concatenate(batches)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.cov(vectors.T), np.eye(8) / 8, atol=0.01)


def test_unit_vectors_like_real_ones() -> None:
    generator = np.random.default_rng(0)
    real = generator.standard_normal((40, 5)).astype(np.float32) * [3, 1, 0.1, 0.1, 0.1] + [0, 0, 9, 0, 0]
    real = (real / np.linalg.norm(real, axis=1, keepdims=True)).astype(np.float32)
    drawn = np.concatenate(list(synthetic_unit_vectors(20_000, 5, seed=3, like=real)))
    np.testing.assert_allclose(drawn.mean(axis=0), real.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(real.T), atol=0.02)


def test_fewer_real_vectors_than_dimensions() -> None:
    real = np.eye(3, 7, dtype=np.float32)
    drawn = np.concatenate(list(synthetic_unit_vectors(10, 7, seed=0, like=real)))
    np.testing.assert_allclose(drawn[:, 3:], 0, atol=1e-6)
