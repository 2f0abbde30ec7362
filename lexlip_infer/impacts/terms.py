"""Terms as an index and a kernel need them: checked, and packed end to end into one array.

Anserini takes its text apart at white space, so that not every term can stand in an index of its; numba takes no
strings, so that its kernels get packed ones. No numba is loaded here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lexlip_kernels.impact_matrix import ImpactMatrix

LONGEST_TERM = 255
SEPARATOR = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
JAVA_WHITESPACE = re.compile(r"[\t-\r\x1c-\x1f \u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000]")
"""`Character.isWhitespace`, where Lucene's WhitespaceTokenizer splits; no-break spaces are not in it."""

SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Half of a UTF-16 pair: Python strings can hold one (undecodable file names do), UTF-8 cannot."""


def check_terms(terms: Iterable[str]) -> None:
    """Refuse terms that an Anserini index built with `-pretokenized` could not hold as they stand.

    Anserini repeats each term as often as its impact says, joins the copies by blanks, and has Lucene's
    WhitespaceTokenizer take them apart again, which splits at white space and cuts at 255 UTF-16 units. Equal
    terms would be equal JSON keys. Special tokens (`[PAD]`) and word pieces (`##ing`) are fine.

    Raises:
        InputError: a term is empty, no string, holds white space, a control character or a lone surrogate, is
            longer than 255 UTF-16 units, or occurs twice; the message names the term and its id.
    """
    first_ids: dict[str, int] = {}
    for term_id, term in enumerate(terms):
        fault = _fault(term)
        if fault is None and term in first_ids:
            fault = f"is the same as term {first_ids[term]}"
        if fault is not None:
            raise InputError(
                f"term {term_id}, {term!r}, {fault}; expected distinct, non-empty terms of at most "
                f"{LONGEST_TERM} characters without white space or control characters: repair the vocabulary"
            )
        first_ids[term] = term_id


def _fault(term: str) -> str | None:
    if not isinstance(term, str):
        return "is not a string"
    if not term:
        return "is empty"
    if SEPARATOR.search(term):
        return "holds white space or a control character"
    if SURROGATE.search(term):
        return "holds a lone surrogate and is not valid Unicode"
    units = len(term.encode("utf-16-le")) // 2
    return f"is {units} UTF-16 units long" if units > LONGEST_TERM else None


def check_shapes(ids: Sequence[str], impacts: ImpactMatrix, vocab_size: int) -> None:
    """Refuse documents whose ids, impacts and vocabulary do not fit together.

    Raises:
        InputError: they differ in number or size.
    """
    if len(ids) != len(impacts):
        raise InputError(f"{len(ids)} document ids for {len(impacts)} rows of impacts; expected one id per row")
    if impacts.vocab_size != vocab_size:
        raise InputError(
            f"the impacts are over {impacts.vocab_size} terms, the writer's vocabulary has {vocab_size}; "
            "use the vocabulary of the model that encoded them"
        )


SPARE = 16
"""Bytes after the last piece, so that a copy in wide chunks may run past its end."""


class Packed(NamedTuple):
    """N texts in UTF-8.

    Attributes:
        text: uint8, piece `i` is `text[starts[i] : starts[i + 1] - 1]`, then a separator; ends in `SPARE`
            spare bytes.
        starts: (N+1,) int64.
    """

    text: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]


def pack(pieces: Iterable[str]) -> Packed:
    """Pack JSON-escaped texts. JSON escapes every line feed, so a raw one can only be the separator put here.

    Raises:
        UnicodeEncodeError: a piece holds a lone surrogate.
    """
    packed = "".join([f"{piece}\n" for piece in pieces]).encode()
    text = np.frombuffer(packed + bytes(SPARE), np.uint8)
    ends = np.flatnonzero(text == ord("\n")) + 1
    return Packed(text, np.concatenate([[0], ends]).astype(np.int64))
