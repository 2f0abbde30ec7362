"""Formats of retrieval toolkits, texts that hold ids and terms: Anserini, Seismic, and TEI's answers with their ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.formats.contract import FormatSettings, Spool, TextWriter, quote
from lexlip_infer.formats.limits import Limits, document_error, refuse_terms
from lexlip_infer.impacts import JsonLinesWriter, check_terms, drop_placeholders
from lexlip_infer.impacts.lint.checks import MAX_QUERY_TERMS
from lexlip_infer.impacts.terms import check_shapes
from lexlip_infer.inputs.lines import LONGEST

if TYPE_CHECKING:
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

#: Anserini reads lines of topics, trims them, and parts them at tabs.
_NO_TOPIC_ID = re.compile(r"^[\0- ]|[\t\n\r]")

#: Characters of a query's term in Seismic (numpy's U100); a longer one is cut, and then found nowhere.
_LONGEST_TERM = 100


class AnseriniWriter:
    """Documents for `JsonVectorCollection`, as `lexlip-encode` writes them: `{"id":…,"contents":"","vector":{…}}`."""

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
    """Queries for `TsvString`: `id<TAB>term term term`, each term repeated as often as its impact says."""

    limits = Limits("a query", 65_535, MAX_QUERY_TERMS)

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        check_terms(vocabulary.terms)
        self._topics = Spool(settings.scratch)

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """No query without a term of its own, besides the usual rules."""
        super().check(ids, impacts)
        empty = drop_placeholders(impacts, self.vocabulary.terms).lengths == 0
        if empty.any():
            raise document_error(
                ids[int(np.argmax(empty))],
                "has no terms; a query without terms finds nothing, and the placeholder that lexlip-encode puts there "
                "would find documents that have none either: leave it out",
            )

    def key(self, number: int, term: str) -> str:  # noqa: ARG002
        """Repeated, it is the query."""
        return f"{term} "

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One line."""
        if not name or _NO_TOPIC_ID.search(name):
            raise document_error(
                name, "a topic's id is not empty, does not begin with a blank, and holds no tab or line end: rename it"
            )
        size = sum(len(self._keys[term]) * impact for term, impact in zip(terms, impacts, strict=True))
        if size > LONGEST:
            raise document_error(
                name,
                f"its terms, each as often as its impact says, are {size:,} characters; {LONGEST:,} are read of "
                "a line: quantise with a smaller scale",
            )
        repeated = "".join([self._keys[term] * impact for term, impact in zip(terms, impacts, strict=True)])
        return f"{name}\t{repeated[:-1]}\n"

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """Nothing is ready before the end: a few kilobytes of impacts may be gigabytes of topics."""
        check_shapes(ids, impacts, len(self.vocabulary))
        for row in range(len(impacts)):
            self._topics.write(super().add(ids[row : row + 1], impacts[row : row + 1]))
        return b""

    def finish(self) -> Iterator[bytes]:
        """All topics."""
        yield from self._topics.pieces()


class SeismicWriter(TextWriter):
    """Lines for `SeismicIndex.build`: `{"id":…,"content":"","vector":{term:impact,…}}`."""

    # It keeps values in half precision.
    limits = Limits("Seismic", largest_impact=2_048)

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._long = np.array([len(term) > _LONGEST_TERM for term in vocabulary.terms], bool)

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """Long terms, besides the usual rules."""
        super().check(ids, impacts)
        rule = f"Seismic's queries hold terms of at most {_LONGEST_TERM} characters: leave it out"
        refuse_terms(ids, impacts, self._long, self.vocabulary.terms, rule)

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One line."""
        return f'{{"id":{quote(name)},"content":"","vector":{{{self.vector(terms, impacts)}}}}}\n'


class TeiWriter(TextWriter):
    """TEI's answer to `/embed_sparse`: `[[{"index":3,"value":12},…],…]`, one array of terms a document."""

    limits = Limits("float32")
    opening, separator, closing, after_impact = "[\n", ",\n", "\n]\n", "}"

    def key(self, number: int, term: str) -> str:  # noqa: ARG002
        """The beginning of an object."""
        return f'{{"index":{number},"value":'

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:  # noqa: ARG002
        """One array; the id has no place in it."""
        return f"[{self.vector(terms, impacts)}]"


class IdsWriter(TextWriter):
    """One id a line, as a JSON string, in the order of the documents."""

    limits = Limits("ids", largest_impact=2**31 - 1)

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:  # noqa: ARG002
        """One line."""
        return quote(name) + "\n"
