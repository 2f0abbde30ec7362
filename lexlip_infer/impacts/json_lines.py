"""JSON lines as Anserini's JsonVectorCollection reads them, written straight from arrays.

    {"id":"000000391895","contents":"","vector":{"motorcycle":231,"mountain":188}}

Each line is byte for byte what `json.dumps(..., ensure_ascii=False, separators=(",", ":"))` gives, with the
vector's keys in ascending term id. Building a Python dictionary per document would cost more than all else,
so every term is escaped once and a numba kernel copies its bytes. This module makes bytes; it opens no files.
"""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.impacts._packed import SPARE, Packed, pack
from lexlip_infer.impacts.terms import SURROGATE, check_terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["JsonLinesWriter"]


class JsonLinesWriter:
    """Encodes impact rows over one vocabulary as JSON lines. Safe to share between threads.

    Args:
        terms: V term strings by id, as `Vocabulary.terms` has them.

    Raises:
        InputError: a term that Anserini could not index as it stands; see `check_terms`.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        check_terms(terms)
        self._terms = pack(f"{encode_basestring(term)}:" for term in terms)
        # Impacts of four digits cover all but the odd entry; larger ones are written digit by digit.
        self._numbers = pack(f"{number}," for number in range(10_000))

    def encode(self, ids: Sequence[str], matrix: ImpactMatrix) -> bytes:
        r"""Encode one line per row, each ended by ``\n``.

        Args:
            ids: (N,) document ids, any valid Unicode.
            matrix: (N, V) impacts; an empty row gives `"vector":{}`, which Anserini drops (see `fill_empty`).

        Raises:
            InputError: ids and rows differ in number, vocabularies differ in size, an id is not valid
                Unicode, or the matrix breaks one of its invariants.
        """
        from lexlip_infer.impacts._json_kernel import fill, measure

        self._check_shape(ids, matrix)
        heads = _pack_heads(ids)
        rows = (matrix.indptr, matrix.indices, matrix.impacts)
        size = measure(rows, heads, self._terms, self._numbers)
        if size < 0:
            matrix.validate()
            raise AssertionError("the kernel refused a matrix that is valid")
        out = np.empty(size + SPARE, np.uint8)
        fill(rows, heads, self._terms, self._numbers, out)
        return out[:size].tobytes()

    def _check_shape(self, ids: Sequence[str], matrix: ImpactMatrix) -> None:
        if len(ids) != len(matrix):
            raise InputError(f"{len(ids)} document ids for {len(matrix)} rows of impacts; expected one id per row")
        vocab_size = len(self._terms.starts) - 1
        if matrix.vocab_size != vocab_size:
            raise InputError(
                f"the impacts are over {matrix.vocab_size} terms, the writer's vocabulary has {vocab_size}; "
                "use the vocabulary of the model that encoded them"
            )


def _pack_heads(ids: Sequence[str]) -> Packed:
    try:
        return pack([f'{{"id":{encode_basestring(name)},"contents":"","vector":{{' for name in ids])
    except (TypeError, UnicodeEncodeError):
        row = next(row for row, name in enumerate(ids) if not _is_unicode(name))
        raise InputError(
            f"document id {ids[row]!r} (row {row}) is not valid Unicode and cannot stand in JSON; "
            "if it is a file name, rename the file"
        ) from None


def _is_unicode(text: str) -> bool:
    return isinstance(text, str) and not SURROGATE.search(text)
