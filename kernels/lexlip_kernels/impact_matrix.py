"""Compressed sparse rows: the one place that slices, selects and stacks them, and their integer kind, ImpactMatrix.

The impacts of an index and the weights of an encoder are one layout over two kinds of numbers, so both are `SparseRows`
(the weights' one is `lexlip_infer.vectors.SparseBatch`). Plain numpy: importing scipy would cost a search for one query
more than the search. There is no arithmetic here; scores come from `lexlip_kernels.impact_dot`.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from lexlip_kernels.errors import InputError

Value = TypeVar("Value", np.float32, np.int32)
MAX_VOCABULARY = 2**31 - 1
"""Largest V: a term's id has 32 bits."""

#: Numbers that are compared at a time.
_PIECE = 2**20

Rows = slice | Sequence[int] | npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]


def row_offsets(lengths: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Where rows of these lengths (N,) begin and end (N+1,), one after the other."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def ascends(numbers: npt.NDArray[np.integer[Any]], strictly: bool = False) -> bool:
    """Whether none is below its predecessor (or not above it, where it has to be strictly).

    Neighbours are compared: a difference may wrap. Piece by piece, so that those of a mapped file take no memory.
    """
    later = np.greater if strictly else np.greater_equal
    if len(numbers) <= _PIECE:
        return bool(later(numbers[1:], numbers[:-1]).all())
    pieces = (numbers[at : at + _PIECE + 1] for at in range(0, len(numbers), _PIECE))
    return all(later(piece[1:], piece[:-1]).all() for piece in pieces)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SparseRows(ABC, Generic[Value]):
    """N sparse vectors over V terms. Selecting and stacking returns the kind it was asked on, with all it carries.

    Construction checks what keeps every access to a row in bounds, whatever the numbers are; `validate` all the rest.

    Attributes:
        indptr: (N+1,) int64, row i occupies `indices[indptr[i]:indptr[i+1]]`.
        indices: (nnz,) int32, term ids, strictly ascending within a row, in [0, V).
        values: (nnz,), one for each id.
        vocab_size: V, at most MAX_VOCABULARY.

    Raises:
        InputError: an array has another dtype or rank, lengths disagree, offsets decrease, or V is out of range.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[Value]
    vocab_size: int

    VALUE_TYPE: ClassVar[type[np.generic]]
    VALUE_NAME: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name, numbers, dtype in (
            ("indptr", self.indptr, np.dtype(np.int64)),
            ("indices", self.indices, np.dtype(np.int32)),
            (self.VALUE_NAME, self.values, np.dtype(self.VALUE_TYPE)),
        ):
            if numbers.dtype != dtype or numbers.ndim != 1:
                raise InputError(f"{kind}.{name} is {numbers.dtype} of rank {numbers.ndim}; expected rank 1 {dtype}")
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.indices):
            raise InputError(f"{kind}.indptr must start at 0 and end at the number of stored {self.VALUE_NAME}")
        if not ascends(self.indptr):
            raise InputError(f"{kind}.indptr must not decrease")
        if len(self.indices) != len(self.values):
            raise InputError(f"{kind} has {len(self.indices)} indices but {len(self.values)} {self.VALUE_NAME}")
        if not isinstance(self.vocab_size, int | np.integer) or not 0 <= self.vocab_size <= MAX_VOCABULARY:
            raise InputError(f"{kind}.vocab_size is {self.vocab_size!r}; expected an integer from 0 to 2^31 - 1")

    @classmethod
    def from_rows(cls, rows: Iterable[Iterable[tuple[int, float]]], vocab_size: int) -> Self:
        """Build from Python pairs of term id and value, in any order within a row, no term twice."""
        lengths, indices, values = array("q"), array("i"), array(np.dtype(cls.VALUE_TYPE).char)
        for row in rows:
            entries = sorted(row)
            lengths.append(len(entries))
            indices.extend(term for term, _ in entries)
            values.extend(value for _, value in entries)  # type: ignore[misc]  # array("i") takes no float: right
        return cls(row_offsets(lengths), np.array(indices, np.int32), np.array(values, cls.VALUE_TYPE), vocab_size)

    @classmethod
    def concatenate(cls, parts: Sequence[Self], vocab_size: int | None = None) -> Self:
        """Stack rows in order.

        Args:
            parts: over one vocabulary.
            vocab_size: of the result. Where it is given, there may be no parts at all, and parts that were made while
                the vocabulary was still growing may have a smaller one.

        Raises:
            InputError: the list is empty, or its parts do not belong together.
        """
        sizes = {part.vocab_size for part in parts}
        if len(sizes) != 1 and vocab_size is None:
            raise InputError(f"cannot concatenate batches of vocabulary sizes {sorted(sizes)}; expected one size")
        size = sizes.pop() if vocab_size is None else vocab_size
        if not parts:
            return cls.from_rows((), size)
        whole = functools.reduce(cls.joined_with, parts)
        indptr = row_offsets(np.concatenate([part.lengths for part in parts]))
        indices = np.concatenate([part.indices for part in parts])
        values = np.concatenate([part.values for part in parts])
        return whole._replace(indptr, indices, values, size)

    def validate(self) -> None:
        """Check every invariant, the expensive ones included.

        Raises:
            InputError: offsets decrease, ids are out of range or out of order, or a value is not allowed.
        """
        self.__post_init__()  # the arrays may have changed since
        kind = type(self).__name__
        if len(self.indices) == 0:
            return
        if self.indices.min() < 0 or self.indices.max() >= self.vocab_size:
            raise InputError(f"{kind}.indices must lie in [0, {self.vocab_size})")
        ascending = self.indices[1:] > self.indices[:-1]
        starts = self.indptr[1:-1]
        ascending[starts[(starts > 0) & (starts < len(self.indices))] - 1] = True
        if not ascending.all():
            raise InputError(f"{kind}.indices must be strictly ascending within a row")
        self._validate_values()

    @abstractmethod
    def _validate_values(self) -> None:
        """Refuse values that the kind does not allow, of at least one."""

    def joined_with(self, other: Self) -> Self:  # noqa: ARG002  (a kind that carries more looks at it)
        """These rows, carrying what both know beside their numbers; called for all that are stacked.

        Raises:
            InputError: the two do not belong together.
        """
        return self

    def _replace(
        self,
        indptr: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int32],
        values: npt.NDArray[Value],
        vocab_size: int | None = None,
    ) -> Self:
        """Other rows of the same kind, over the same vocabulary unless its size is given."""
        size = self.vocab_size if vocab_size is None else vocab_size
        return dataclasses.replace(self, indptr=indptr, indices=indices, values=values, vocab_size=size)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __iter__(self) -> Iterator[Self]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: int | Rows) -> Self:
        """Select rows by number, slice, list, integer array or boolean mask, in the order asked for.

        A single number gives these rows' one, still of shape (1, V). Neighbouring rows share memory with the whole.

        Raises:
            InputError: rows of more than one dimension were asked for.
            IndexError: there is no such row; negative numbers count from the end.
        """
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            bounds = self.indptr[start : max(start, stop) + 1]
            held = slice(bounds[0], bounds[-1])
            return self._replace(bounds - bounds[0], self.indices[held], self.values[held])
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.ndim == 0:
                row = range(len(self))[operator.index(rows)]
                return self[row : row + 1]
            if rows.ndim != 1:
                raise InputError(f"{type(self).__name__}[...] takes a row's number, a slice or a list of rows")
            rows = rows if rows.size else rows.astype(np.int64)  # numpy takes [] for an array of floats
        chosen = np.arange(len(self))[rows]
        lengths = self.lengths[chosen]
        indptr = row_offsets(lengths)
        entries = np.arange(indptr[-1])
        entries += np.repeat(self.indptr[chosen] - indptr[:-1], lengths)
        return self._replace(indptr, self.indices[entries], self.values[entries])

    @property
    def shape(self) -> tuple[int, int]:
        """(N, V)."""
        return len(self), self.vocab_size

    @property
    def nnz(self) -> int:
        """Number of stored values in all rows."""
        return len(self.indices)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of stored values of each row (N,)."""
        return np.diff(self.indptr)

    @property
    def row_numbers(self) -> npt.NDArray[np.int64]:
        """The row of each stored value (nnz,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def row(self, i: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[Value]]:
        """Term ids (ascending) and values of one row, as views."""
        i = range(len(self))[i]
        held = slice(self.indptr[i], self.indptr[i + 1])
        return self.indices[held], self.values[held]

    def where(self, kept: npt.NDArray[np.bool_], vocab_size: int | None = None) -> Self:
        """Only the stored values that a mask (nnz,) keeps; rows stay, if empty.

        Args:
            kept: which.
            vocab_size: V of the result, where the terms that remain are the first V.
        """
        return self._replace(row_offsets(kept)[self.indptr], self.indices[kept], self.values[kept], vocab_size)

    def top_k(self, k: int) -> Self:
        """The k heaviest terms of each row, ties to the lower id, as the lexicon head would have kept them.

        Raises:
            InputError: k is below 1.
        """
        if k < 1:
            raise InputError(f"top_k is {k}; expected at least 1")
        row = self.row_numbers
        by_value = np.lexsort((self.indices, -self.values, row))
        rank = np.empty(self.nnz, np.int64)
        rank[by_value] = np.arange(self.nnz) - self.indptr[row]
        return self.where(rank < k)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ImpactMatrix(SparseRows[np.int32]):
    """N rows of positive integer impacts over V terms, shared by quantiser, index and search.

    Attributes:
        indptr, indices, vocab_size: as in `SparseRows`.
        values: (nnz,) int32, each >= 1; also by the name of `impacts`.
    """

    VALUE_TYPE = np.int32
    VALUE_NAME = "impacts"

    def __repr__(self) -> str:
        return f"ImpactMatrix({len(self)} rows, {self.vocab_size} terms, {self.nnz} impacts)"

    @property
    def impacts(self) -> npt.NDArray[np.int32]:
        """(nnz,) int32, each >= 1."""
        return self.values

    def _validate_values(self) -> None:
        if self.values.min() < 1:
            raise InputError("ImpactMatrix.impacts must be at least 1; leave a zero impact out")
