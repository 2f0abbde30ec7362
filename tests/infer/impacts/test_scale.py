"""Whether a scale fits: against the quantiser's definition, without its lower bound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from lexlip_infer.impacts import QuantisationSettings, fitting_scale, largest_weight, lifted_terms, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch


def unit_vectors(rows: int = 6, terms: int = 2000, kept: int = 300) -> SparseBatch:
    """The `kept` largest entries of vectors that are 1 long over all terms."""
    rng = np.random.default_rng(0)
    dense = rng.exponential(size=(rows, terms)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    return SparseBatch.from_scipy(csr_array(dense)).top_k(kept)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("scale", [1e-3, 7.0, 50.0, 100.0, 1e4])
def test_the_terms_that_would_round_to_0(scale: float, normalise: bool) -> None:
    batch = unit_vectors()
    norms = batch.norms() if normalise else np.ones(len(batch), np.float32)
    expected = sum(int((np.rint(scale * (batch.row(i)[1] / norms[i])) == 0).sum()) for i in range(len(batch)))
    assert lifted_terms(batch, QuantisationSettings(scale, 255, normalise)) == expected
    assert lifted_terms(batch, QuantisationSettings(1e-3, 255, normalise)) == batch.nnz


def test_zeros_are_no_terms() -> None:
    batch = SparseBatch(np.array([0, 2]), np.array([1, 3], np.int32), np.array([0, 0.004], np.float32), 5)
    assert lifted_terms(batch, QuantisationSettings(100)) == 1
    assert lifted_terms(batch, QuantisationSettings(1000)) == 0
    nothing = SparseBatch.from_rows((), 5)
    assert (lifted_terms(nothing, QuantisationSettings()), largest_weight(nothing, True)) == (0, 1.0)


def test_the_scale_that_fits_unit_vectors() -> None:
    batch = unit_vectors()
    usual = QuantisationSettings(100, 255)
    assert set(quantise(batch, usual).impacts.tolist()) <= set(range(1, 18))
    scale = fitting_scale(largest_weight(batch, normalise=False), 255)
    impacts = quantise(batch, QuantisationSettings(scale, 255)).impacts
    assert impacts.max() in (254, 255)
    assert (impacts == 255).sum() <= 2  # nothing but the largest reaches the cap
    assert len(set(impacts.tolist())) > 100
    assert largest_weight(batch, normalise=True) > largest_weight(batch, normalise=False)


@pytest.mark.parametrize(
    ("largest", "cap", "scale"),
    [(0.0421, 255, 6057.0), (1.0, 255, 255.0), (23.5, 255, 10.85), (1e6, 3, 3e-6), (1e-38, 65535, 3.403e38)],
)
def test_four_digits_of_a_scale(largest: float, cap: int, scale: float) -> None:
    assert fitting_scale(largest, cap) == pytest.approx(scale, rel=1e-3)
    QuantisationSettings(fitting_scale(largest, cap), cap)
