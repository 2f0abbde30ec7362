"""Quantisation: float weights become the integer impacts that an inverted index adds up.

    impact = clip(round_half_even(scale * weight), 1, cap)        every step in float32

Scale 100 with rounding to even is the recipe of LexMAE, SPLADE's own code and Tevatron; Anserini's SPLADE
encoder uses 51.2. A kept positive weight never vanishes (it becomes at least 1), a weight of exactly 0 is
dropped. The definition, bit for bit, is `reference.py`; this module validates and calls the numba kernel that
agrees with it, or for a query or two the definition itself. It does not choose terms: top-k happened before.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.impacts.reference import quantise as quantise_by_definition
from lexlip_kernels.impact_matrix import ImpactMatrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lexlip_infer.vectors.sparse_batch import SparseBatch

FLOAT32 = np.finfo(np.float32)
_PLACEHOLDER = re.compile(r"\[UNK\]|<unk>|\[unused\d+\]")
#: Loading numba takes longer than the definition takes for so many.
_FEW_WEIGHTS = 4096
SMALLEST, LARGEST = float(FLOAT32.tiny), float(FLOAT32.max)


@dataclass(frozen=True, slots=True)
class QuantisationSettings:
    """How weights become impacts.

    Attributes:
        scale: impact of a weight of 1; positive, finite, and rounded to float32.
        cap: largest impact, 1 to 65535. With 255, an impact fits one byte, as BMP and other engines require.
        normalise: divide each row by the L2 norm of its kept terms before scaling, so that the dot product
            with any query ranks as the cosine does.

    Raises:
        InputError: a value is of the wrong type or out of range.
    """

    scale: float = 100.0
    cap: int = 65535
    normalise: bool = False

    def __post_init__(self) -> None:
        # Written so that NaN fails too.
        if not isinstance(self.scale, (int, float)) or not SMALLEST <= self.scale <= LARGEST:
            raise InputError(f"quantisation scale is {self.scale!r}; expected a positive, finite float32, such as 100")
        if not isinstance(self.cap, int) or not 1 <= self.cap <= 65535:
            raise InputError(f"quantisation cap is {self.cap!r}; expected a whole number from 1 to 65535")
        if not isinstance(self.normalise, bool):
            raise InputError(f"quantisation normalise is {self.normalise!r}; expected True or False")


def quantise(batch: SparseBatch, settings: QuantisationSettings | None = None) -> ImpactMatrix:
    """Turn a batch's weights into impacts; rows keep their order, and a row of zeros becomes empty.

    Args:
        batch: (B, V) un-normalised weights, finite and >= 0.
        settings: scale, cap and normalisation; None means the defaults.

    Returns:
        (B, V) impacts in [1, cap], term ids ascending within a row, equal to `reference.quantise` bit by bit.

    Raises:
        InputError: a weight is NaN, infinite or negative; the message names the row.
    """
    settings = settings or QuantisationSettings()
    if batch.nnz <= _FEW_WEIGHTS and "numba" not in sys.modules:
        bad = np.flatnonzero(~((batch.values >= 0) & (batch.values < np.inf)))
        if len(bad):
            raise _bad_weight(batch, int(bad[0]))
        return quantise_by_definition(batch, settings)
    from lexlip_infer.impacts._kernels import quantise_rows

    indptr = np.zeros_like(batch.indptr)
    indices = np.empty_like(batch.indices)
    impacts = np.empty(len(batch.indices), np.int32)
    bad_entry = quantise_rows(
        (batch.indptr, batch.indices, batch.values),
        np.float32(settings.scale),
        np.float32(settings.cap),
        settings.normalise,
        (indptr, indices, impacts),
    )
    if bad_entry >= 0:
        raise _bad_weight(batch, bad_entry)
    return ImpactMatrix(indptr, indices[: indptr[-1]], impacts[: indptr[-1]], batch.vocab_size)


def fill_empty(matrix: ImpactMatrix, placeholder_id: int) -> tuple[ImpactMatrix, int]:
    """Give every empty row the one term `placeholder_id` with impact 1, and count those rows.

    Anserini drops a document with an empty vector without a word, so that its id can never be found again.

    Args:
        matrix: (N, V) impacts; returned as it is when no row is empty.
        placeholder_id: a term that no query uses, in [0, V), such as the id of `[unused993]`.

    Raises:
        InputError: the placeholder is no term of the vocabulary.
    """
    if not 0 <= placeholder_id < matrix.vocab_size:
        raise InputError(
            f"placeholder id {placeholder_id} is not in the vocabulary; expected 0 to {matrix.vocab_size - 1}"
        )
    empty = matrix.lengths == 0
    count = int(empty.sum())
    if count == 0:
        return matrix, 0
    starts = matrix.indptr[:-1][empty]
    added = np.concatenate([[0], np.cumsum(empty)])
    filled = ImpactMatrix(
        matrix.indptr + added,
        np.insert(matrix.indices, starts, placeholder_id),
        np.insert(matrix.impacts, starts, 1),
        matrix.vocab_size,
    )
    return filled, count


def drop_placeholders(matrix: ImpactMatrix, terms: Sequence[str]) -> ImpactMatrix:
    """Make the rows of queries empty again that `fill_empty` has filled, whose placeholder would find its like.

    Args:
        matrix: (Q, V) impacts.
        terms: V terms by id. Placeholders are told by their names: `[UNK]`, `<unk>`, `[unused993]`.
    """
    alone = np.repeat(matrix.lengths == 1, matrix.lengths) & (matrix.impacts == 1)
    kept = ~alone
    for entry in np.flatnonzero(alone):
        kept[entry] = _PLACEHOLDER.fullmatch(terms[matrix.indices[entry]]) is None
    return matrix.where(kept)


def _bad_weight(batch: SparseBatch, entry: int) -> InputError:
    row = int(np.searchsorted(batch.indptr, entry, side="right")) - 1
    return InputError(
        f"row {row} has weight {batch.values[entry]} for term id {batch.indices[entry]}; expected finite, "
        "non-negative weights: check the model and the precision it runs in"
    )
