"""SparseBatch: what every encoder returns and every writer takes.

Compressed sparse rows, one row an image or a text, one column a vocabulary term. The arrays are plain
numpy, so a batch costs nothing to pass between stages and is a scipy matrix without copying its weights. It
holds un-normalised weights `log1p(relu(max over tokens of logit))` (LexLIP, section "sparse
representation"); normalising and quantising belong to `lexlip_infer.impacts`.
"""

from __future__ import annotations

import dataclasses
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError, OutputError, require
from lexlip_kernels.impact_matrix import SparseRows, ascends, row_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse
    import torch

EXPANSION_LIMIT, ALWAYS_EXPANDED = 100, 2**28
"""Times its size that a saved batch may expand to, and bytes that it may in any case."""

Floats = npt.NDArray[np.float32]

#: What a saved batch has beside scipy's own arrays.
_FINGERPRINT = "lexlip_model_fingerprint"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SparseBatch(SparseRows[np.float32]):
    """B sparse vectors over a vocabulary of V terms, in compressed-sparse-row form.

        batch = encoder.encode_texts(["a dog", "two cats"])
        batch[0]                       # its first row, a batch as well; slices, lists and masks select several
        for row in batch: ...          # row by row
        batch.top_k(8)                 # the 8 heaviest terms of each
        batch[:1].intersection(batch)  # the terms each row has in common with the first

    Attributes:
        indptr: (B+1,) int64, row i occupies `indices[indptr[i]:indptr[i+1]]`.
        indices: (nnz,) int32, term ids, strictly ascending within a row, in [0, V).
        values: (nnz,) float32, weights, finite and >= 0.
        vocab_size: V.
        fingerprint: of the model that made the vectors, `Bundle.fingerprint`; None where that is not known. Selecting,
            stacking, saving and pickling keep it, and vectors of two models are never mixed: term 7 of one model is
            another word in the next, and weights of two models of one vocabulary are no more alike.
    """

    fingerprint: str | None = None

    VALUE_TYPE = np.float32

    def _validate_values(self) -> None:
        if not np.isfinite(self.values).all() or self.values.min() < 0:
            raise InputError("SparseBatch.values must be finite and not negative")

    def joined_with(self, other: SparseBatch) -> SparseBatch:
        """These vectors, as made by the model of either; errors as for `check_same_model`."""
        self.check_same_model(other)
        return self.with_model(other.fingerprint)

    def check_same_model(self, other: SparseBatch) -> None:
        """Refuse vectors that cannot be compared with these.

        Raises:
            InputError: they are over another vocabulary, or another model has made them.
        """
        if self.vocab_size != other.vocab_size:
            raise InputError(
                f"vectors over {self.vocab_size} and over {other.vocab_size} terms; encode both with one model"
            )
        mine, theirs = self.fingerprint, other.fingerprint
        if mine is not None and theirs is not None and mine != theirs:
            raise InputError(
                f"vectors of two models (fingerprints {mine[:12]} and {theirs[:12]}); encode both with one model"
            )

    def with_model(self, fingerprint: str | None) -> SparseBatch:
        """The same vectors, as made by this model where it is not known yet."""
        known = self.fingerprint is not None or fingerprint is None
        return self if known else dataclasses.replace(self, fingerprint=fingerprint)

    @classmethod
    def from_ranked(
        cls, ids: npt.NDArray[np.integer[Any]], weights: npt.NDArray[np.floating[Any]], vocab_size: int
    ) -> SparseBatch:
        """Build a batch from what a lexicon head emits.

        Args:
            ids: (B, K), term ids by rank, -1 where a row has fewer than K terms.
            weights: (B, K), their weights, 0 where padded.
            vocab_size: V.

        Raises:
            InputError: the two are not of one shape (B, K).
        """
        if ids.ndim != 2 or ids.shape != weights.shape:
            raise InputError(f"ids are {ids.shape} and weights {weights.shape}; expected (B, K) for both")
        kept = (ids >= 0) & (weights > 0)
        # Dropped slots sort to the end of their row, so that the kept ones come out ascending and first.
        order = np.argsort(np.where(kept, ids, vocab_size), axis=1, kind="stable")
        kept = np.take_along_axis(kept, order, axis=1)
        indptr = row_offsets(kept.sum(axis=1))
        indices = np.take_along_axis(ids, order, axis=1)[kept].astype(np.int32)
        values = np.take_along_axis(weights, order, axis=1)[kept].astype(np.float32)
        return cls(indptr, indices, values, vocab_size)

    @classmethod
    def from_scipy(cls, matrix: scipy.sparse.csr_array) -> SparseBatch:
        """Build a batch from any scipy sparse matrix of shape (B, V).

        Raises:
            InputError: its offsets decrease, or there are more columns than ids of 32 bits.
            ValueError: of a matrix that scipy finds to be malformed.
        """
        if hasattr(matrix, "indptr"):  # scipy's own checks take differences, which wrap; its C++ makes none
            if not ascends(matrix.indptr):
                raise InputError("the offsets of the matrix decrease; it is damaged")
            matrix.check_format(full_check=True)
        csr = matrix.tocsr().copy()
        csr.sum_duplicates()
        csr.sort_indices()
        return cls(
            csr.indptr.astype(np.int64),
            csr.indices.astype(np.int32),
            csr.data.astype(np.float32),
            csr.shape[1],
        )

    def __repr__(self) -> str:
        return f"SparseBatch({len(self)} rows, {self.vocab_size} terms, {self.nnz} weights)"

    def norms(self) -> Floats:
        """L2 norm of each row (B,)."""
        squares = np.bincount(self.row_numbers, np.square(self.values, dtype=np.float64), len(self))
        return np.sqrt(squares).astype(np.float32)

    def sparsity(self) -> dict[str, float]:
        """How sparse the vectors are, under the names of sentence-transformers.

        Returns:
            `active_dims`: terms of a row with a weight above 0, on average; `sparsity_ratio`: the share of the
            vocabulary that a row has no weight for, 0 to 1.
        """
        active = float(np.count_nonzero(self.values)) / len(self) if len(self) else 0.0
        return {"active_dims": active, "sparsity_ratio": 1.0 - active / self.vocab_size}

    def intersection(self, other: SparseBatch) -> SparseBatch:
        """Products of the weights that two vectors both have: what each term adds to their dot product.

        Args:
            other: as many rows, taken pairwise; where either has a single row, it goes with each of the other's.

        Raises:
            InputError: the numbers of rows do not fit, or the vectors are of two models.
        """
        self.check_same_model(other)
        a = self if len(self) != 1 else self[np.zeros(len(other), np.int64)]
        b = other if len(other) != 1 else other[np.zeros(len(self), np.int64)]
        if len(a) != len(b):
            raise InputError(f"{len(self)} and {len(other)} rows; expected as many, or a single one")
        mine, theirs = (rows.row_numbers * rows.vocab_size + rows.indices for rows in (a, b))
        common, at, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
        lengths = np.bincount(common // self.vocab_size, minlength=len(a))
        product = a.values[at] * b.values[there]
        return a.joined_with(b)._replace(row_offsets(lengths), a.indices[at], product)

    def to_dense(self) -> Floats:
        """The full (B, V) matrix."""
        dense = np.zeros((len(self), self.vocab_size), np.float32)
        dense[self.row_numbers, self.indices] = self.values
        return dense

    def to_scipy(self) -> scipy.sparse.csr_array:
        """A scipy csr_array of shape (B, V) that shares the weights' memory."""
        import scipy.sparse

        offsets = self._short_offsets()
        return scipy.sparse.csr_array((self.values, self.indices, offsets), shape=self.shape, copy=False)

    def _short_offsets(self) -> npt.NDArray[np.integer[Any]]:
        """Scipy wants one integer type for both: the short one, where it fits, leaves the large array where it is."""
        return self.indptr.astype(np.int32) if self.nnz < 2**31 else self.indptr

    def to_torch(self) -> torch.Tensor:
        """A torch sparse CSR tensor of shape (B, V); torch says once per process that these are in beta.

        Raises:
            MissingExtra: torch is not installed.
        """
        require("torch", extra="train")
        import torch

        return torch.sparse_csr_tensor(
            torch.from_numpy(self.indptr),
            torch.from_numpy(self.indices.astype(np.int64)),
            torch.from_numpy(self.values),
            size=(len(self), self.vocab_size),
            check_invariants=True,  # torch warns when it is not told, and may crash on a malformed batch
        )

    def to_dicts(self, terms: Sequence[str]) -> list[dict[str, float]]:
        """One `{term: weight}` per row, heaviest first.

        Args:
            terms: V term strings by id, as `Vocabulary.terms` has them.
        """
        rows = []
        for i in range(len(self)):
            ids, weights = self.row(i)
            rank = np.lexsort((ids, -weights))
            rows.append({terms[ids[j]]: float(weights[j]) for j in rank})
        return rows

    def save(self, path: str | Path) -> None:
        """Write an .npz that `scipy.sparse.load_npz` reads too, under exactly this name; the fingerprint goes along.

        Raises:
            OutputError: the file cannot be written.
        """
        from lexlip_infer.files import replacing

        indptr = self._short_offsets()
        layout = {"format": b"csr", "shape": self.shape, "data": self.values, "_is_array": True}
        model = {} if self.fingerprint is None else {_FINGERPRINT: self.fingerprint.encode()}
        arrays: dict[str, Any] = {"indices": self.indices.astype(indptr.dtype), "indptr": indptr, **layout, **model}
        try:
            with replacing(Path(path)) as file:  # given a name, numpy would append .npz to it
                np.savez_compressed(file, **arrays)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None

    @classmethod
    def load(cls, path: str | Path) -> SparseBatch:
        """Read an .npz written by `save` or by `scipy.sparse.save_npz`.

        Raises:
            InputError: the file is missing, is not a sparse matrix, breaks an invariant of this class, or expands to
                more than EXPANSION_LIMIT times its size.
        """
        import scipy.sparse

        from lexlip_infer.files import open_regular

        try:
            with open_regular(path, refuse=lambda reason: OSError(None, reason)) as file:
                _check_size(file)
                batch = cls.from_scipy(scipy.sparse.load_npz(file))
                file.seek(0)
                with np.load(file) as arrays:
                    model = arrays[_FINGERPRINT].item().decode() if _FINGERPRINT in arrays else None
            batch.validate()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
        except Exception as error:  # noqa: BLE001  (zip, zlib, npy header and scipy each raise their own)
            raise InputError(f"{path}: not a scipy .npz matrix of weights ({error})") from None
        return batch.with_model(model)


def _check_size(file: BinaryIO) -> None:
    """Refuse a file of a few megabytes that would fill the memory."""
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as parts:
        expanded = sum(part.file_size for part in parts.infolist())
    if expanded > max(ALWAYS_EXPANDED, EXPANSION_LIMIT * size):
        raise InputError(f"{expanded:,} bytes in a file of {size:,}; at most {EXPANSION_LIMIT} times as many are read")
    file.seek(0)
