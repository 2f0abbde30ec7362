"""Which terms can stand in an inverted index that takes its text apart at white space."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["JAVA_WHITESPACE", "LONGEST_TERM", "SURROGATE", "check_terms"]

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
