"""Rules that engines have for documents, checked for a whole chunk at once; the first offender is named.

An engine that meets such a document refuses a whole batch, cuts it, or drops it without a word, hours later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError
from lexlip_infer.impacts.terms import SURROGATE

if TYPE_CHECKING:
    from lexlip_kernels.impact_matrix import ImpactMatrix

EXACT_FLOAT32 = 2**24
"""Largest integer up to which float32 holds all of them."""


def document_error(name: str, what: str) -> InputError:
    """One line that names the document; a long id is cut."""
    return InputError(f"document {name if len(name) <= 80 else name[:79] + '…'!r}: {what}")


def check_vocabulary(terms: Sequence[str]) -> None:
    """Refuse a term that no file could hold.

    Raises:
        InputError: a term holds half a surrogate pair, as escapes in JSON can.
    """
    for term in terms:
        if SURROGATE.search(term):
            raise InputError(
                f"term {term!r} is not valid Unicode; repair the vocabulary, or the file that it came from"
            )


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine takes.

    Attributes:
        engine: its name, for messages.
        largest_impact: above it, a value would be rounded or refused.
        most_terms: of one document.
        takes_empty: whether a document may have no term.
        longest_id: bytes of UTF-8.
    """

    engine: str
    largest_impact: int = EXACT_FLOAT32
    most_terms: int | None = None
    takes_empty: bool = True
    longest_id: int | None = None

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """Refuse the first document that breaks a rule.

        Raises:
            InputError: naming document, rule and cure.
        """
        lengths = impacts.lengths
        if not self.takes_empty and (lengths == 0).any():
            name = ids[int(np.argmax(lengths == 0))]
            raise document_error(
                name, f"has no terms; {self.engine} refuses an empty vector: give it a placeholder term"
            )
        if self.most_terms is not None and (lengths > self.most_terms).any():
            row = int(np.argmax(lengths > self.most_terms))
            raise document_error(
                ids[row],
                f"{lengths[row]:,} terms; {self.engine} takes {self.most_terms:,}: encode with a smaller --top-k",
            )
        if len(impacts.impacts) and impacts.impacts.max() > self.largest_impact:
            entry = int(np.argmax(impacts.impacts > self.largest_impact))
            raise document_error(
                ids[_row_of(impacts, entry)],
                f"impact {impacts.impacts[entry]:,}; {self.engine} takes impacts of at most "
                f"{self.largest_impact:,} unrounded: quantise with a smaller scale",
            )
        if self.longest_id is not None:
            self._check_ids(ids, self.longest_id)

    def _check_ids(self, ids: Sequence[str], longest: int) -> None:
        for name in ids:
            if not name:
                raise document_error(name, f"an empty id; {self.engine} needs one")
            if len(name) * 4 > longest and len(name.encode("utf-8", "surrogatepass")) > longest:
                raise document_error(
                    name, f"its id is longer than the {longest:,} bytes that {self.engine} takes: shorten it"
                )


def refuse_terms(
    ids: Sequence[str], impacts: ImpactMatrix, forbidden: npt.NDArray[np.bool_], terms: Sequence[str], rule: str
) -> None:
    """Refuse the first document that holds a forbidden term; terms that no document holds do no harm.

    Args:
        ids: (N,).
        impacts: (N, V).
        forbidden: (V,), by term id.
        terms: (V,), for the message.
        rule: what the engine says to such a term, and what to do.

    Raises:
        InputError: naming document, term and rule.
    """
    hits = forbidden[impacts.indices]
    if hits.any():
        entry = int(np.argmax(hits))
        raise document_error(ids[_row_of(impacts, entry)], f"term {terms[impacts.indices[entry]]!r}; {rule}")


def encode(text: str, ids: Sequence[str]) -> bytes:
    """UTF-8 of a chunk's text.

    Raises:
        InputError: an id holds half a surrogate pair, as undecodable file names do.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        name = next(name for name in ids if SURROGATE.search(name))
        raise document_error(name, "its id is not valid Unicode; if it is a file name, rename the file") from None


def _row_of(impacts: ImpactMatrix, entry: int) -> int:
    return int(np.searchsorted(impacts.indptr, entry, side="right")) - 1
