"""SparseBatch against dense numpy: the same rows, whichever way they are built, cut or stored."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse
from dense_rows import Dense, batch_of, random_dense
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lexlip_infer.errors import InputError
from lexlip_infer.vectors.sparse_batch import SparseBatch

if TYPE_CHECKING:
    from pathlib import Path


class TestInvariants:
    @pytest.mark.parametrize(
        ("name", "array"),
        [
            ("indptr", np.array([0, 1], np.int32)),
            ("indptr", np.array([[0, 1]], np.int64)),
            ("indices", np.array([0], np.int64)),
            ("values", np.array([1], np.float64)),
            ("values", np.array([[1]], np.float32)),
        ],
    )
    def test_wrong_type_or_rank_is_named(self, name: str, array: npt.NDArray[Any]) -> None:
        arrays: dict[str, Any] = {
            "indptr": np.array([0, 1]),
            "indices": np.array([0], np.int32),
            "values": np.array([1], np.float32),
        }
        with pytest.raises(InputError, match=rf"SparseBatch\.{name} is .*expected rank 1"):
            SparseBatch(**(arrays | {name: array}), vocab_size=3)

    @pytest.mark.parametrize("indptr", [[], [1, 1], [0, 2], [0, 0]])
    def test_offsets_span_the_weights(self, indptr: list[int]) -> None:
        with pytest.raises(InputError, match="start at 0 and end"):
            SparseBatch(np.array(indptr, np.int64), np.zeros(1, np.int32), np.ones(1, np.float32), 3)

    @pytest.mark.parametrize("indptr", [[0, 2, 0, 1], [0, 2**62 + 2**61, -(2**62), 1]])  # a difference of these wraps
    def test_offsets_do_not_decrease(self, indptr: list[int]) -> None:
        with pytest.raises(InputError, match="must not decrease"):
            SparseBatch(np.array(indptr, np.int64), np.zeros(1, np.int32), np.ones(1, np.float32), 3)

    @pytest.mark.parametrize("size", [-1, 2**31, 3.0, None, "3"])
    def test_the_vocabulary_has_a_size(self, size: object) -> None:
        with pytest.raises(InputError, match=r"SparseBatch\.vocab_size is .*; expected an integer from 0 to 2\^31 - 1"):
            SparseBatch(np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.float32), size)  # type: ignore[arg-type]

    def test_as_many_indices_as_values(self) -> None:
        with pytest.raises(InputError, match="1 indices but 2 values"):
            SparseBatch(np.array([0, 1]), np.zeros(1, np.int32), np.ones(2, np.float32), 3)

    @pytest.mark.parametrize(
        ("indptr", "indices", "values", "problem"),
        [
            ([0, 1], [-1], [1], r"lie in \[0, 5\)"),
            ([0, 1], [5], [1], r"lie in \[0, 5\)"),
            ([0, 2], [3, 1], [1, 1], "strictly ascending"),
            ([0, 2], [3, 3], [1, 1], "strictly ascending"),
            ([0, 1, 3], [4, 3, 3], [1, 1, 1], "strictly ascending"),
            ([0, 1], [0], [-1e-9], "not negative"),
            ([0, 1], [0], [np.nan], "finite"),
            ([0, 1], [0], [np.inf], "finite"),
        ],
    )
    def test_validate_finds(self, indptr: list[int], indices: list[int], values: list[float], problem: str) -> None:
        broken = SparseBatch(np.array(indptr, np.int64), np.array(indices, np.int32), np.array(values, np.float32), 5)
        with pytest.raises(InputError, match=problem):
            broken.validate()

    @pytest.mark.parametrize("indptr", [[0, 2, 2, 4], [0, 0, 0, 2, 4, 4], [0, 2, 4]])
    def test_validate_lets_ids_fall_between_rows(self, indptr: list[int]) -> None:
        values = np.array([1, 0, 1, 1], np.float32)  # a stored zero is allowed
        SparseBatch(np.array(indptr), np.array([2, 4, 0, 1], np.int32), values, 5).validate()

    def test_rows_and_length(self, batch: SparseBatch, dense: Dense) -> None:
        assert len(batch) == 7
        assert batch.nnz == np.count_nonzero(dense)
        for i in range(-7, 7):
            ids, weights = batch.row(i)
            np.testing.assert_array_equal(ids, np.flatnonzero(dense[i]))
            np.testing.assert_array_equal(weights, dense[i][ids])
            assert ids.base is batch.indices
        with pytest.raises(IndexError):
            batch.row(7)


class TestFromRanked:
    def test_padding_anywhere_and_ids_unsorted(self) -> None:
        ids = np.array([[4, -1, 0, 2], [-1, -1, -1, -1], [1, 3, -1, 0], [-1, 0, 4, 3]])
        weights = np.array([[0.5, 0, 2, 1], [0, 0, 0, 0], [3, 0, 0, 1], [0, 1, 1, 1]], np.float32)
        batch = SparseBatch.from_ranked(ids, weights, 5)
        batch.validate()
        expected = [[2, 0, 1, 0, 0.5], [0] * 5, [1, 3, 0, 0, 0], [1, 0, 0, 1, 1]]
        np.testing.assert_array_equal(batch.to_dense(), np.array(expected, np.float32))
        assert batch.nnz == 8  # a zero weight is no term

    @settings(max_examples=60, deadline=None)
    @given(
        hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 9)), elements=st.floats(0, 8, width=16)),
        st.randoms(use_true_random=False),
    )
    def test_undoes_any_ranking(self, dense: Dense, random: Any) -> None:
        ids = np.full(dense.shape, -1, np.int64)
        weights = np.zeros_like(dense)
        for i, row in enumerate(dense):
            terms = [int(term) for term in np.flatnonzero(row)]
            random.shuffle(terms)
            slots = sorted(random.sample(range(len(row)), len(terms)))
            ids[i, slots], weights[i, slots] = terms, row[terms]
        batch = SparseBatch.from_ranked(ids, weights, dense.shape[1])
        batch.validate()
        np.testing.assert_array_equal(batch.to_dense(), dense)

    @pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
    def test_empty_shapes(self, shape: tuple[int, int]) -> None:
        batch = SparseBatch.from_ranked(np.zeros(shape, np.int64), np.zeros(shape, np.float32), 5)
        assert (len(batch), batch.nnz, batch.to_dense().shape) == (shape[0], 0, (shape[0], 5))

    @pytest.mark.parametrize(("id_type", "weight_type"), [(np.int32, np.float16), (np.int64, np.float64)])
    def test_types_are_normalised(self, id_type: type[np.integer[Any]], weight_type: type[Any]) -> None:
        batch = SparseBatch.from_ranked(np.array([[1, 0]], id_type), np.array([[2, 0.5]], weight_type), 2)
        np.testing.assert_array_equal(batch.to_dense(), [[0.5, 2]])

    @pytest.mark.parametrize("shapes", [((2, 3), (2, 2)), ((3,), (3,)), ((2, 1), (2, 3))])
    def test_shapes_must_agree(self, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        ids, weights = (np.ones(shape) for shape in shapes)
        with pytest.raises(InputError, match=r"expected \(B, K\)"):
            SparseBatch.from_ranked(ids.astype(np.int64), weights, 5)


class TestSelection:
    @pytest.mark.parametrize(
        "rows",
        [
            slice(None),
            slice(2, 5),
            slice(None, None, -2),
            slice(5, 2),
            slice(-3, 100),
            [0],
            [6, 0, 0, -1],
            [],
            np.array([], np.int64),
            np.array([3, 3, 2], np.int32),
            np.array([True, False, True, False, False, False, True]),
            [False] * 7,
        ],
    )
    def test_same_rows_as_numpy(self, batch: SparseBatch, dense: Dense, rows: Any) -> None:
        chosen = batch[rows]
        chosen.validate()
        expected = dense[rows] if len(dense[rows]) else np.zeros((0, 13), np.float32)
        np.testing.assert_array_equal(chosen.to_dense(), expected)

    @pytest.mark.parametrize("rows", [[7], [-8], [True] * 6, [0.5]])
    def test_no_such_row(self, batch: SparseBatch, rows: Any) -> None:
        with pytest.raises(IndexError):
            batch[rows]

    @pytest.mark.parametrize("row", [3, -1, 0, np.int64(3), np.uint8(6)])
    def test_a_number_gives_that_row(self, batch: SparseBatch, dense: Dense, row: Any) -> None:
        np.testing.assert_array_equal(batch[row].to_dense(), dense[[row]])

    @pytest.mark.parametrize("row", [7, -8])
    def test_a_number_without_a_row(self, batch: SparseBatch, row: int) -> None:
        with pytest.raises(IndexError):
            batch[row]

    @pytest.mark.parametrize("rows", [[[0, 1]], np.ones((7, 13), bool)])
    def test_two_dimensions_are_no_selection(self, batch: SparseBatch, rows: Any) -> None:
        with pytest.raises(InputError, match=r"SparseBatch\[...\] takes"):
            batch[rows]

    @pytest.mark.parametrize("row", [1.0, "1", None, True])
    def test_what_is_no_number(self, batch: SparseBatch, row: Any) -> None:
        with pytest.raises(TypeError):
            batch[row]

    def test_iterates_over_rows(self, batch: SparseBatch, dense: Dense) -> None:
        assert [len(row) for row in batch] == [1] * 7
        np.testing.assert_array_equal(np.concatenate([row.to_dense() for row in batch]), dense)

    def test_neighbours_share_memory(self, batch: SparseBatch) -> None:
        assert np.shares_memory(batch[2:5].values, batch.values)


class TestModel:
    """The fingerprint of the model goes along, and two of them do not mix."""

    def test_goes_along(self, batch: SparseBatch, tmp_path: Path) -> None:
        ours = batch.with_model("a" * 64)
        ours.save(tmp_path / "ours.npz")
        for same in (
            ours[2:4],
            ours[0],
            ours[[3, 1]],
            ours.top_k(2),
            ours.where(ours.values > 0.5),
            SparseBatch.concatenate([batch, ours, batch]),
            ours.intersection(batch),
            batch[0].intersection(ours),
            pickle.loads(pickle.dumps(ours)),
            copy.deepcopy(ours),
            SparseBatch.load(tmp_path / "ours.npz"),
            ours.with_model("b" * 64),
        ):
            assert same.fingerprint == "a" * 64
        assert scipy.sparse.load_npz(tmp_path / "ours.npz").shape == ours.shape

    def test_unknown_stays_unknown(self, batch: SparseBatch, tmp_path: Path) -> None:
        batch.save(tmp_path / "batch.npz")
        for same in (batch, batch[:2], SparseBatch.load(tmp_path / "batch.npz"), batch.with_model(None)):
            assert same.fingerprint is None

    def test_two_do_not_mix(self, batch: SparseBatch) -> None:
        a, b = batch.with_model("a" * 64), batch.with_model("b" * 64)
        for parts in ([a, b], [batch, a, batch, b]):
            with pytest.raises(InputError, match=r"two models \(fingerprints aaaaaaaaaaaa and bbbbbbbbbbbb\)"):
                SparseBatch.concatenate(parts)
        with pytest.raises(InputError, match="two models"):
            a.intersection(b)


def test_costs_no_scipy() -> None:
    code = """
import sys, numpy, lexlip_infer
batch = lexlip_infer.SparseBatch.from_ranked(numpy.array([[3, 1]]), numpy.array([[2.0, 1.0]]), 9)
batch = lexlip_infer.SparseBatch.concatenate([batch[0], batch[:0]]).top_k(1).intersection(batch)
print(batch, batch.to_dicts("abcdefghi"), batch.norms(), *(m for m in ("scipy", "numba") if m in sys.modules))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "SparseBatch(1 rows, 9 terms, 1 weights) [{'d': 4.0}] [4.]"


class TestMeasures:
    def test_sparsity(self, batch: SparseBatch, dense: Dense) -> None:
        found = batch.sparsity()
        assert found["active_dims"] == pytest.approx((dense > 0).sum(axis=1).mean())
        assert found["sparsity_ratio"] == pytest.approx((dense == 0).mean())
        assert batch[:0].sparsity() == {"active_dims": 0.0, "sparsity_ratio": 1.0}

    def test_intersection_pairwise(self, batch: SparseBatch, dense: Dense) -> None:
        common = batch.intersection(batch[::-1])
        common.validate()
        np.testing.assert_array_equal(common.to_dense(), dense * dense[::-1])

    @pytest.mark.parametrize("row", range(7))
    def test_intersection_of_one_with_all(self, batch: SparseBatch, dense: Dense, row: int) -> None:
        for common in (batch[row].intersection(batch), batch.intersection(batch[row])):
            common.validate()
            np.testing.assert_array_equal(common.to_dense(), dense * dense[row])

    def test_intersection_with_nothing(self, batch: SparseBatch) -> None:
        assert len(batch[:0].intersection(batch[0])) == 0
        assert batch[3].intersection(batch).nnz == 0
        with pytest.raises(InputError, match="7 and 2 rows; expected as many, or a single one"):
            batch.intersection(batch[:2])
        with pytest.raises(InputError, match="over 13 and over 4 terms"):
            batch.intersection(batch_of(random_dense(2, 4)))

    def test_top_k(self, batch: SparseBatch, dense: Dense) -> None:
        """Ties are tested with the recall that is measured on it."""
        kept = batch.top_k(2)
        kept.validate()
        assert kept.lengths.tolist() == np.minimum((dense > 0).sum(axis=1), 2).tolist()
        np.testing.assert_array_equal(kept.to_dense().max(axis=1), dense.max(axis=1))


class TestConcatenation:
    def test_undoes_slicing(self, batch: SparseBatch, dense: Dense) -> None:
        whole = SparseBatch.concatenate([batch[:0], batch[:3], batch[3:3], batch[3:]])
        whole.validate()
        np.testing.assert_array_equal(whole.to_dense(), dense)

    def test_of_no_rows(self, batch: SparseBatch) -> None:
        whole = SparseBatch.concatenate([batch[:0], batch[:0]])
        assert (len(whole), whole.vocab_size, str(whole.indptr.dtype)) == (0, 13, "int64")

    def test_refuses_two_vocabularies_and_none(self, batch: SparseBatch) -> None:
        with pytest.raises(InputError, match=r"\[4, 13\]"):
            SparseBatch.concatenate([batch, batch_of(random_dense(2, 4))])
        with pytest.raises(InputError, match="expected one size"):
            SparseBatch.concatenate([])


@pytest.mark.parametrize("k", [1, 2, 3, 7, 100])
def test_kept_terms_with_ties(k: int) -> None:
    generator = np.random.default_rng(k)
    dense = generator.integers(0, 4, (9, 12)).astype(np.float32)
    dense[3] = 0
    dense[8] = 0
    row, column = dense.nonzero()
    indptr = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))])
    batch = SparseBatch(indptr, column.astype(np.int32), dense[row, column], 12)
    kept = batch.top_k(k)
    kept.validate()
    for number, line in enumerate(dense):
        best = sorted(line.nonzero()[0].tolist(), key=lambda term: (-line[term], term))[:k]
        ids, weights = kept.row(number)
        assert ids.tolist() == sorted(best)
        assert weights.tolist() == [line[term] for term in sorted(best)]
