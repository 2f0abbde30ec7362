"""Anserini: documents as JSON lines for `JsonVectorCollection`, queries as topics for `TsvString`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lexlip_infer.formats.limits import Limits, document_error
from lexlip_infer.formats.text import TextWriter
from lexlip_infer.impacts import JsonLinesWriter, check_terms
from lexlip_infer.impacts.lint.checks import MAX_QUERY_TERMS

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["AnseriniTopicsWriter", "AnseriniWriter"]

#: Anserini reads lines, trims them, and parts them at tabs.
_NO_TOPIC_ID = re.compile(r"^[\0- ]|[\t\n\r]")


class AnseriniWriter:
    """`{"id":…,"contents":"","vector":{term:impact}}`, the format that `lexlip-encode` writes."""

    limits = Limits("Anserini", largest_impact=2**31 - 1, takes_empty=False)

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:  # noqa: ARG002
        self._lines = JsonLinesWriter(vocabulary.terms)

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """See `FormatWriter.add`."""
        lines = self._lines.encode(ids, impacts)
        self.limits.check(ids, impacts)
        return lines

    def finish(self) -> Iterator[bytes]:
        """Nothing is left."""
        yield b""


class AnseriniTopicsWriter(TextWriter):
    """`id<TAB>term term term`, each term repeated as often as its impact says."""

    limits = Limits("a query", 65_535, MAX_QUERY_TERMS, takes_empty=False)

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        check_terms(vocabulary.terms)
        self._terms = [f"{term} " for term in vocabulary.terms]

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One line."""
        if not name or _NO_TOPIC_ID.search(name):
            raise document_error(
                name, "a topic's id is not empty, does not begin with a blank, and holds no tab or line end: rename it"
            )
        repeated = "".join([self._terms[term] * impact for term, impact in zip(terms, impacts, strict=True)])
        return f"{name}\t{repeated[:-1]}\n"
