"""SparseRows, on integers: built, selected and stacked as dense numpy does it; SparseBatch's tests cover the rest."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lexlip_kernels import ImpactMatrix, impact_matrix
from lexlip_kernels.errors import InputError
from lexlip_kernels.impact_matrix import ascends

Dense = npt.NDArray[np.int32]


def dense_of(matrix: ImpactMatrix) -> Dense:
    dense = np.zeros(matrix.shape, np.int32)
    dense[matrix.row_numbers, matrix.indices] = matrix.impacts
    return dense


@pytest.fixture
def dense() -> Dense:
    """Seven rows, the first, one in the middle and the last without a term."""
    numbers = np.random.default_rng(0).integers(-4, 6, (7, 13)).astype(np.int32).clip(0)
    numbers[[0, 3, 6]] = 0
    return numbers


@pytest.fixture
def matrix(dense: Dense) -> ImpactMatrix:
    return ImpactMatrix.from_rows([[(int(term), int(row[term])) for term in row.nonzero()[0]] for row in dense], 13)


def test_from_rows_sorts_the_terms(matrix: ImpactMatrix, dense: Dense) -> None:
    matrix.validate()
    np.testing.assert_array_equal(dense_of(matrix), dense)
    shuffled = ImpactMatrix.from_rows([[(5, 1), (2, 7)], iter(())], 6)
    shuffled.validate()
    assert (shuffled.indices.tolist(), shuffled.impacts.tolist()) == ([2, 5], [7, 1])
    assert shuffled.lengths.tolist() == [2, 0]


@pytest.mark.parametrize("rows", [slice(2, 5), slice(5, 2), slice(None, None, -3), [4, 4, 0, -2], [], [True] * 7, 5])
def test_selection(matrix: ImpactMatrix, dense: Dense, rows: Any) -> None:
    chosen = matrix[rows]
    chosen.validate()
    np.testing.assert_array_equal(dense_of(chosen), dense[rows].reshape(-1, 13) if rows != [] else dense[:0])


def test_rows_of_no_matrix() -> None:
    nothing = ImpactMatrix.from_rows((), 4)
    assert (nothing.shape, nothing.nnz, list(nothing), len(nothing[:]), len(nothing[[]])) == ((0, 4), 0, [], 0, 0)
    with pytest.raises(IndexError):
        nothing[0]


def test_concatenation_undoes_selection(matrix: ImpactMatrix, dense: Dense) -> None:
    whole = ImpactMatrix.concatenate([matrix[4:], matrix[:0], matrix[:4]])
    np.testing.assert_array_equal(dense_of(whole[[3, 4, 5, 6, 0, 1, 2]]), dense)


def test_concatenation_of_a_vocabulary_that_grew() -> None:
    parts = [ImpactMatrix.from_rows([[(0, 1)]], 1), ImpactMatrix.from_rows([[(3, 2)]], 4)]
    with pytest.raises(InputError, match=r"\[1, 4\]; expected one size"):
        ImpactMatrix.concatenate(parts)
    whole = ImpactMatrix.concatenate(parts, 5)
    whole.validate()
    assert whole.shape == (2, 5)
    assert ImpactMatrix.concatenate([], 5).shape == (0, 5)


def test_where_keeps_empty_rows(matrix: ImpactMatrix, dense: Dense) -> None:
    kept = matrix.where(matrix.indices < 4, 4)
    kept.validate()
    np.testing.assert_array_equal(dense_of(kept), dense[:, :4])


def test_top_k_of_none_is_refused(matrix: ImpactMatrix) -> None:
    with pytest.raises(InputError, match="top_k is 0; expected at least 1"):
        matrix.top_k(0)


def test_short_repr_and_pickle(matrix: ImpactMatrix, dense: Dense) -> None:
    assert repr(matrix) == f"ImpactMatrix(7 rows, 13 terms, {matrix.nnz} impacts)"
    np.testing.assert_array_equal(dense_of(pickle.loads(pickle.dumps(matrix))), dense)


@pytest.mark.parametrize("piece", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("numbers", "ascending", "strictly"),
    [
        ([], True, True),
        ([7], True, True),
        ([0, 1, 5, 6], True, True),
        ([0, 1, 1, 6], True, False),
        ([0, 1, 6, 5], False, False),
        ([1, 0, 6, 7], False, False),
        ([0, 2**62 + 2**61, -(2**62), 3], False, False),  # every difference is positive in 64 bits
    ],
)
def test_ascends(
    numbers: list[int], ascending: bool, strictly: bool, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impact_matrix, "_PIECE", piece)
    array = np.array(numbers, np.int64)
    assert ascends(array) is ascending
    assert ascends(array, strictly=True) is strictly
