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

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse
    import torch

__all__ = ["SparseBatch"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SparseBatch:
    """B sparse vectors over a vocabulary of V terms, in compressed-sparse-row form.

    Attributes:
        indptr: (B+1,), row i occupies `indices[indptr[i]:indptr[i+1]]`.
        indices: (nnz,), term ids, strictly ascending within a row, in [0, V).
        values: (nnz,), weights, finite and >= 0.
        vocab_size: V.
    """

    indptr: Offsets
    indices: Ids
    values: Floats
    vocab_size: int

    def __post_init__(self) -> None:
        for name, dtype in (("indptr", np.int64), ("indices", np.int32), ("values", np.float32)):
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != 1:
                raise InputError(
                    f"SparseBatch.{name} is {array.dtype} of rank {array.ndim}; expected rank 1 {np.dtype(dtype)}"
                )
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.indices):
            raise InputError("SparseBatch.indptr must start at 0 and end at the number of stored weights")
        if len(self.indices) != len(self.values):
            raise InputError(f"SparseBatch has {len(self.indices)} indices but {len(self.values)} values")

    def validate(self) -> None:
        """Check every invariant, the expensive ones included.

        Raises:
            InputError: rows overlap, ids are out of range or out of order, or a weight is negative or not
                finite.
        """
        if (np.diff(self.indptr) < 0).any():
            raise InputError("SparseBatch.indptr must not decrease")
        if len(self.indices) == 0:
            return
        if self.indices.min() < 0 or self.indices.max() >= self.vocab_size:
            raise InputError(f"SparseBatch.indices must lie in [0, {self.vocab_size})")
        ascending = np.diff(self.indices) > 0
        starts = self.indptr[1:-1]
        ascending[starts[(starts > 0) & (starts < len(self.indices))] - 1] = True
        if not ascending.all():
            raise InputError("SparseBatch.indices must be strictly ascending within a row")
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
        indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int64)
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

    @classmethod
    def concatenate(cls, batches: Sequence[SparseBatch]) -> SparseBatch:
        """Stack batches of one vocabulary, rows in order.

        Raises:
            InputError: the list is empty, or vocabularies differ in size.
        """
        sizes = {batch.vocab_size for batch in batches}
        if len(sizes) != 1:
            raise InputError(f"cannot concatenate batches of vocabulary sizes {sorted(sizes)}; expected one size")
        lengths = np.concatenate([np.diff(batch.indptr) for batch in batches])
        return cls(
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([batch.indices for batch in batches]),
            np.concatenate([batch.values for batch in batches]),
            sizes.pop(),
        )

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, rows: slice | Sequence[int] | npt.NDArray[np.integer[Any]]) -> SparseBatch:
        """Select rows by slice, list, integer array or boolean mask; a batch, in the order asked for.

        Raises:
            InputError: a single number was given.
            IndexError: there is no such row; negative numbers count from the end.
        """
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.ndim != 1:
                raise InputError("SparseBatch[...] takes a slice or a list of rows; use row(i) for a single one")
            rows = rows if rows.size else rows.astype(np.int64)  # numpy takes [] for an array of floats
        chosen = np.arange(len(self))[rows]
        lengths = np.diff(self.indptr)[chosen]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        gather = np.repeat(self.indptr[chosen] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return SparseBatch(indptr, self.indices[gather], self.values[gather], self.vocab_size)

    def __repr__(self) -> str:
        return f"SparseBatch({len(self)} rows, {self.vocab_size} terms, {self.nnz} weights)"

    @property
    def shape(self) -> tuple[int, int]:
        """(B, V)."""
        return len(self), self.vocab_size

    def norms(self) -> Floats:
        """L2 norm of each row (B,)."""
        row = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        squares = np.bincount(row, np.square(self.values, dtype=np.float64), len(self))
        return np.sqrt(squares).astype(np.float32)

    @property
    def nnz(self) -> int:
        """Number of stored weights in all rows."""
        return len(self.indices)

    def row(self, i: int) -> tuple[Ids, Floats]:
        """Term ids (ascending) and weights of one row, as views."""
        i = range(len(self))[i]
        span = slice(self.indptr[i], self.indptr[i + 1])
        return self.indices[span], self.values[span]

    def to_dense(self) -> Floats:
        """The full (B, V) matrix."""
        dense = np.zeros((len(self), self.vocab_size), np.float32)
        dense[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = self.values
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
