"""The quantiser against its definition, bit by bit, and what it refuses."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import InputError
from lexlip_infer.impacts import (
    QuantisationSettings,
    _kernels,  # noqa: F401  (once loaded, it quantises few weights as well)
    drop_placeholders,
    fill_empty,
    quantise,
    reference,
)
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels.impact_matrix import ImpactMatrix

VOCAB_SIZE = 1000

Quantise = Callable[[SparseBatch, QuantisationSettings], ImpactMatrix]


def batch_of(*rows: Sequence[float | np.float32]) -> SparseBatch:
    """Rows of weights on term ids 0, 1, 2, ..."""
    lengths = [len(row) for row in rows]
    return SparseBatch(
        np.cumsum([0, *lengths]).astype(np.int64),
        np.array([term for n in lengths for term in range(n)], np.int32),
        np.array([weight for row in rows for weight in row], np.float32),
        VOCAB_SIZE,
    )


def random_batch(seed: int, rows: int = 200) -> SparseBatch:
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((rows, 257)) < 0.2, rng.exponential(0.8, (rows, 257)), 0)
    dense[::17] = 0
    ids = np.broadcast_to(np.sort(rng.choice(VOCAB_SIZE, 257, replace=False)), dense.shape)
    return SparseBatch.from_ranked(ids, dense.astype(np.float32), VOCAB_SIZE)


def assert_same(found: ImpactMatrix, expected: ImpactMatrix) -> None:
    found.validate()
    assert found.vocab_size == expected.vocab_size
    for name in ("indptr", "indices", "impacts"):
        actual, wanted = getattr(found, name), getattr(expected, name)
        assert actual.dtype == wanted.dtype
        np.testing.assert_array_equal(actual, wanted, err_msg=name)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(("scale", "cap"), [(100, 65535), (51.2, 255), (1e-3, 7), (3e38, 1), (1e-37, 2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_reference(seed: int, scale: float, cap: int, normalise: bool) -> None:
    chosen = QuantisationSettings(scale=scale, cap=cap, normalise=normalise)
    batch = random_batch(seed)
    assert_same(quantise(batch, chosen), reference.quantise(batch, chosen))


weights = st.one_of(
    st.floats(0, 90, width=32),
    st.floats(0, math.inf, width=32, exclude_max=True, allow_subnormal=True),
    st.integers(0, 400).map(lambda eighths: eighths / 8),
)


@settings(deadline=None, max_examples=200)
@given(
    rows=st.lists(st.lists(weights, max_size=9), max_size=6),
    scale=st.sampled_from([100.0, 51.2, 4.0, 0.3]),
    cap=st.sampled_from([1, 255, 65535]),
    normalise=st.booleans(),
)
def test_equals_reference_on_awkward_weights(rows: list[list[float]], scale: float, cap: int, normalise: bool) -> None:
    chosen = QuantisationSettings(scale, cap, normalise)
    batch = batch_of(*rows)
    assert_same(quantise(batch, chosen), reference.quantise(batch, chosen))


@pytest.mark.parametrize("function", [quantise, reference.quantise])
class TestDefinition:
    """Literal answers, so that kernel and reference cannot be wrong together."""

    def test_halves_go_to_even(self, function: Quantise) -> None:
        # 4 * n / 8 is n / 2 without rounding.
        found = function(batch_of([3 / 8, 5 / 8, 7 / 8, 9 / 8, 11 / 8]), QuantisationSettings(scale=4))
        assert found.impacts.tolist() == [2, 2, 4, 4, 6]

    def test_next_to_a_half(self, function: Quantise) -> None:
        half = np.float32(2.5)
        below, above = np.nextafter(half, np.float32(0)), np.nextafter(half, np.float32(9))
        found = function(batch_of([below, half, above]), QuantisationSettings(scale=1))
        assert found.impacts.tolist() == [2, 2, 3]

    def test_product_is_rounded_to_float32(self, function: Quantise) -> None:
        # The exact product lies above a half and would go up; in float32 it is the half, which goes to even.
        weight = np.float32(0.025)
        assert float(weight) * 100 > 2.5
        assert function(batch_of([weight]), QuantisationSettings()).impacts.tolist() == [2]

    def test_tiny_weights_stay(self, function: Quantise) -> None:
        found = function(batch_of([1e-45, 1e-6, 0.0049, 0.005, 0.0151]), QuantisationSettings())
        assert found.impacts.tolist() == [1, 1, 1, 1, 2]

    def test_cap(self, function: Quantise) -> None:
        found = function(batch_of([2.54, 2.55, 2.56, 3e38]), QuantisationSettings(cap=255))
        assert found.impacts.tolist() == [254, 255, 255, 255]

    def test_zero_weights_go(self, function: Quantise) -> None:
        found = function(batch_of([0.0, 1.0, -0.0, 2.0], [0.0], [], [3.0]), QuantisationSettings())
        assert found.indptr.tolist() == [0, 2, 2, 2, 3]
        assert found.indices.tolist() == [1, 3, 0]
        assert found.impacts.tolist() == [100, 200, 300]

    def test_normalise(self, function: Quantise) -> None:
        found = function(batch_of([3.0, 4.0], [0.0, 0.0], [], [0.25]), QuantisationSettings(normalise=True))
        assert found.indptr.tolist() == [0, 2, 2, 2, 3]
        assert found.impacts.tolist() == [60, 80, 100]

    def test_no_rows(self, function: Quantise) -> None:
        found = function(batch_of(), QuantisationSettings())
        assert len(found) == 0
        assert len(found.impacts) == 0


def test_read_only_arrays() -> None:
    batch = random_batch(3)
    for array in (batch.indptr, batch.indices, batch.values):
        array.setflags(write=False)
    chosen = QuantisationSettings(normalise=True)
    assert_same(quantise(batch, chosen), reference.quantise(random_batch(3), chosen))


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, -1e-45])
@pytest.mark.parametrize("normalise", [False, True])
def test_refuses_bad_weights(weight: float, normalise: bool) -> None:
    batch = batch_of([1.0], [], [2.0, 3.0, weight], [4.0])
    with pytest.raises(InputError, match=r"row 2 has weight .* for term id 2; expected finite"):
        quantise(batch, QuantisationSettings(normalise=normalise))


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0])
def test_few_weights_are_quantised_and_refused_alike_without_numba(
    weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [random_batch(seed, rows=5) for seed in range(5)]
    expected = [quantise(batch, QuantisationSettings(100, 255, True)) for batch in batches]
    with pytest.raises(InputError) as compiled:
        quantise(batch_of([1.0], [0.5, weight]))
    monkeypatch.delitem(sys.modules, "numba")
    for batch, matrix in zip(batches, expected, strict=True):
        assert_same(quantise(batch, QuantisationSettings(100, 255, True)), matrix)
    with pytest.raises(InputError) as defined:
        quantise(batch_of([1.0], [0.5, weight]))
    assert str(defined.value) == str(compiled.value)


def test_placeholders_of_empty_queries_are_dropped() -> None:
    terms = ["[UNK]", "dog", "[unused7]", "<unk>"]
    rows = [[(0, 1)], [(0, 1), (1, 3)], [(2, 1)], [(3, 1)], [(0, 2)], [(1, 1)], []]
    kept = drop_placeholders(ImpactMatrix.from_rows(rows, 4), terms)
    assert [len(kept.row(row)[0]) for row in range(7)] == [0, 2, 0, 0, 1, 1, 0]


@pytest.mark.parametrize("scale", [0, -1, math.nan, math.inf, 1e39, 1e-50, "100", None])
def test_refuses_scale(scale: object) -> None:
    with pytest.raises(InputError, match=r"quantisation scale is .*; expected a positive, finite"):
        QuantisationSettings(scale=scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("cap", [0, -1, 65536, 255.0, "255"])
def test_refuses_cap(cap: object) -> None:
    with pytest.raises(InputError, match=r"quantisation cap is .*; expected a whole number from 1 to 65535"):
        QuantisationSettings(cap=cap)  # type: ignore[arg-type]


def test_refuses_normalise() -> None:
    with pytest.raises(InputError, match="normalise is 'no'; expected True or False"):
        QuantisationSettings(normalise="no")  # type: ignore[arg-type]


def test_fill_empty() -> None:
    matrix = quantise(batch_of([], [1.0, 2.0], [], [], [3.0], []))
    filled, count = fill_empty(matrix, placeholder_id=998)
    filled.validate()
    assert count == 4
    assert filled.indptr.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert filled.indices.tolist() == [998, 0, 1, 998, 998, 0, 998]
    assert filled.impacts.tolist() == [1, 100, 200, 1, 1, 300, 1]


def test_fill_empty_without_empty_rows() -> None:
    matrix = quantise(batch_of([1.0]))
    assert fill_empty(matrix, 0) == (matrix, 0)


@pytest.mark.parametrize("placeholder_id", [-1, VOCAB_SIZE])
def test_fill_empty_refuses_placeholder(placeholder_id: int) -> None:
    with pytest.raises(InputError, match=f"placeholder id {placeholder_id} is not in the vocabulary"):
        fill_empty(quantise(batch_of([])), placeholder_id)
