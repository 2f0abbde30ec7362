"""SparseBatch: what every encoder returns and every writer takes.

Compressed sparse rows, one row an image or a text, one column a vocabulary term. The arrays are plain
numpy, so a batch costs nothing to pass between stages and is a scipy matrix without copying its weights. It
holds un-normalised weights `log1p(relu(max over tokens of logit))` (LexLIP, section "sparse
representation"); normalising and quantising belong to `lexlip_infer.impacts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError, OutputError, require
from lexlip_kernels.impact_matrix import SparseRows, row_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse
    import torch

__all__ = ["SparseBatch"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SparseBatch(SparseRows[np.float32]):
    """B sparse vectors over a vocabulary of V terms, in compressed-sparse-row form.

    Attributes:
        indptr: (B+1,) int64, row i occupies `indices[indptr[i]:indptr[i+1]]`.
        indices: (nnz,) int32, term ids, strictly ascending within a row, in [0, V).
        values: (nnz,) float32, weights, finite and >= 0.
        vocab_size: V.
    """

    VALUE_TYPE = np.float32

    def _validate_values(self) -> None:
        if not np.isfinite(self.values).all() or self.values.min() < 0:
            raise InputError("SparseBatch.values must be finite and not negative")

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
        """Build a batch from any scipy sparse matrix of shape (B, V)."""
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

    def to_dense(self) -> Floats:
        """The full (B, V) matrix."""
        dense = np.zeros((len(self), self.vocab_size), np.float32)
        dense[self.row_numbers, self.indices] = self.values
        return dense

    def to_scipy(self) -> scipy.sparse.csr_array:
        """A scipy csr_array of shape (B, V) that shares the weights' memory."""
        import scipy.sparse

        # scipy wants one integer type for both; the short one, where it fits, leaves the large array where it is.
        indptr = self.indptr.astype(np.int32) if self.nnz < 2**31 else self.indptr
        return scipy.sparse.csr_array((self.values, self.indices, indptr), shape=self.shape, copy=False)

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
        """Write an .npz that `scipy.sparse.load_npz` reads too, under exactly this name.

        Raises:
            OutputError: the file cannot be written.
        """
        import scipy.sparse

        try:
            with Path(path).open("wb") as file:  # given a name, scipy would append .npz to it
                scipy.sparse.save_npz(file, self.to_scipy())
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None

    @classmethod
    def load(cls, path: str | Path) -> SparseBatch:
        """Read an .npz written by `save` or by `scipy.sparse.save_npz`.

        Raises:
            InputError: the file is missing, is not a sparse matrix, or breaks an invariant of this class.
        """
        import scipy.sparse

        try:
            with Path(path).open("rb") as file:
                batch = cls.from_scipy(scipy.sparse.load_npz(file))
            batch.validate()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
        except Exception as error:  # noqa: BLE001  (zip, zlib, npy header and scipy each raise their own)
            raise InputError(f"{path}: not a scipy .npz matrix of weights ({error})") from None
        return batch
