"""SparseBatch as other libraries hold it, and in files: the same rows come back."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse
from dense_rows import Dense, batch_of, random_dense
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import InputError, MissingExtra, OutputError
from lexlip_infer.vectors import sparse_batch
from lexlip_infer.vectors.sparse_batch import SparseBatch

if TYPE_CHECKING:
    from pathlib import Path


class TestConversion:
    def test_scipy_shares_the_weights(self, batch: SparseBatch, dense: Dense) -> None:
        matrix = batch.to_scipy()
        assert np.shares_memory(matrix.data, batch.values)
        assert matrix.has_canonical_format
        np.testing.assert_array_equal(matrix.toarray(), dense)

    @pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok"])
    def test_from_any_scipy_format(self, dense: Dense, kind: str) -> None:
        batch = SparseBatch.from_scipy(scipy.sparse.csr_array(dense).asformat(kind))
        batch.validate()
        np.testing.assert_array_equal(batch.to_dense(), dense)

    def test_from_scipy_sums_duplicates_and_leaves_the_source(self) -> None:
        source = scipy.sparse.csr_array(([1.0, 2.0, 4.0], [3, 0, 3], [0, 3]), shape=(1, 4))
        batch = SparseBatch.from_scipy(source)
        batch.validate()
        np.testing.assert_array_equal(batch.to_dense(), [[2, 0, 0, 5]])
        np.testing.assert_array_equal(source.indices, [3, 0, 3])

    @pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
    def test_torch(self, batch: SparseBatch, dense: Dense) -> None:
        torch = pytest.importorskip("torch")
        tensor = batch.to_torch()
        assert tensor.layout == torch.sparse_csr
        np.testing.assert_array_equal(tensor.to_dense().numpy(), dense)
        assert batch[:0].to_torch().shape == (0, 13)

    def test_torch_missing(self, batch: SparseBatch, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "torch", None)
        with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[train\]'"):
            batch.to_torch()

    def test_dicts_rank_by_weight_then_id(self) -> None:
        values = np.array([1, 2, 1, 2, 0.5], np.float32)
        batch = SparseBatch(np.array([0, 5, 5]), np.arange(5, dtype=np.int32), values, 5)
        first, second = batch.to_dicts(["a", "b", "c", "d", "e"])
        assert list(first.items()) == [("b", 2), ("d", 2), ("a", 1), ("c", 1), ("e", 0.5)]
        assert second == {}

    def test_empty_batch(self) -> None:
        empty = SparseBatch(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), 9)
        empty.validate()
        assert (len(empty), empty.nnz, empty.to_dicts(["x"] * 9)) == (0, 0, [])
        assert empty.to_dense().shape == empty.to_scipy().shape == (0, 9)
        assert len(empty[[]]) == len(SparseBatch.from_ranked(np.ones((0, 2), int), np.ones((0, 2)), 9)) == 0


class TestFiles:
    @pytest.mark.parametrize("name", ["batch.npz", "batch", "batch.part"])
    def test_round_trip_under_the_name_given(self, batch: SparseBatch, tmp_path: Path, name: str) -> None:
        for rows in (slice(None), slice(0, 0), slice(3, 4)):
            batch[rows].save(tmp_path / name)
            again = SparseBatch.load(tmp_path / name)
            for field in ("indptr", "indices", "values"):
                expected = getattr(batch[rows], field)
                np.testing.assert_array_equal(getattr(again, field), expected, strict=True)
            assert again.vocab_size == 13
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_scipy_reads_and_writes_the_same_files(self, batch: SparseBatch, dense: Dense, tmp_path: Path) -> None:
        batch.save(tmp_path / "ours.npz")
        scipy.sparse.save_npz(tmp_path / "same.npz", batch.to_scipy())
        assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "same.npz").read_bytes()
        np.testing.assert_array_equal(scipy.sparse.load_npz(tmp_path / "ours.npz").toarray(), dense)
        scipy.sparse.save_npz(tmp_path / "theirs.npz", scipy.sparse.coo_array(dense.astype(np.float64)))
        np.testing.assert_array_equal(SparseBatch.load(str(tmp_path / "theirs.npz")).to_dense(), dense)

    def test_every_truncation_is_an_input_error(self, batch: SparseBatch, tmp_path: Path) -> None:
        batch.save(tmp_path / "whole.npz")
        data = (tmp_path / "whole.npz").read_bytes()
        broken = tmp_path / "broken.npz"
        for length in {*range(0, len(data), 37), len(data) - 1}:
            broken.write_bytes(data[:length])
            with pytest.raises(InputError, match=r"broken\.npz: not a scipy"):
                SparseBatch.load(broken)

    @settings(max_examples=80, deadline=None)
    @given(position=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
    def test_a_flipped_byte_is_harmless_or_an_input_error(
        self, tmp_path_factory: pytest.TempPathFactory, position: float, value: int
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "flipped.npz"
        batch_of(random_dense(7, 13)).save(path)
        data = bytearray(path.read_bytes())
        data[int(position * len(data))] ^= value
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            SparseBatch.load(path).validate()

    def test_a_file_that_expands_beyond_measure(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        zeros = SparseBatch(np.array([0, 5000]), np.arange(5000, dtype=np.int32), np.zeros(5000, np.float32), 5000)
        zeros.save(tmp_path / "zeros.npz")
        assert SparseBatch.load(tmp_path / "zeros.npz").nnz == 5000
        monkeypatch.setattr(sparse_batch, "ALWAYS_EXPANDED", 1000)
        monkeypatch.setattr(sparse_batch, "EXPANSION_LIMIT", 2)
        with pytest.raises(InputError, match=r"zeros\.npz: .* bytes in a file of .*; at most 2 times as many are read"):
            SparseBatch.load(tmp_path / "zeros.npz")

    def test_a_fifo_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "batch.npz")
        with pytest.raises(InputError, match=r"cannot be read \(is a FIFO; expected a regular file"):
            SparseBatch.load(tmp_path / "batch.npz")

    @pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csc_array])
    def test_offsets_that_decrease_do_not_reach_scipy(self, kind: Any, tmp_path: Path) -> None:
        matrix = kind(np.eye(3, dtype=np.float32))
        matrix.indptr[1:3] = [2, 1]
        with pytest.raises(InputError, match="the offsets of the matrix decrease"):
            SparseBatch.from_scipy(matrix)
        scipy.sparse.save_npz(tmp_path / "m.npz", matrix)
        with pytest.raises(InputError, match="the offsets of the matrix decrease"):
            SparseBatch.load(tmp_path / "m.npz")

    @pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
    def test_foreign_weights_are_refused(self, tmp_path: Path, weight: float) -> None:
        scipy.sparse.save_npz(tmp_path / "m.npz", scipy.sparse.csr_array(np.array([[0, weight]])))
        with pytest.raises(InputError, match="finite and not negative"):
            SparseBatch.load(tmp_path / "m.npz")

    def test_foreign_ids_are_refused(self, tmp_path: Path) -> None:
        arrays = {"indices": np.array([9]), "indptr": np.array([0, 1]), "data": np.ones(1)}
        np.savez(tmp_path / "m.npz", shape=np.array([1, 3]), format=np.array("csr"), **arrays)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"m\.npz: not a scipy .npz matrix of weights \(.*"):
            SparseBatch.load(tmp_path / "m.npz")

    @pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(40)])
    def test_garbage(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "m.npz").write_bytes(content)
        with pytest.raises(InputError, match="not a scipy"):
            SparseBatch.load(tmp_path / "m.npz")

    def test_other_numpy_files(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "plain.npz", weights=np.ones(3))
        np.save(tmp_path / "array.npy", np.ones(3))
        np.savez(tmp_path / "pickled.npz", format=np.array([{"a": 1}], object))
        for path in tmp_path.iterdir():
            with pytest.raises(InputError, match="not a scipy"):
                SparseBatch.load(path)

    def test_places_that_cannot_be_opened(self, batch: SparseBatch, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"absent\.npz: cannot be read \(No such file"):
            SparseBatch.load(tmp_path / "absent.npz")
        with pytest.raises(InputError, match="cannot be read"):
            SparseBatch.load(tmp_path)
        with pytest.raises(OutputError, match="cannot be written"):
            batch.save(tmp_path / "no folder" / "batch.npz")
