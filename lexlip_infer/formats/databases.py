"""Formats of databases: Qdrant, Milvus, OpenSearch and Elasticsearch, Vespa, PostgreSQL with pgvector."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.formats.contract import FormatSettings, TextWriter, quote
from lexlip_infer.formats.limits import Limits, document_error, encode, refuse_terms

if TYPE_CHECKING:
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

#: A request to Qdrant holds at most so many points, and closes once it has so many characters: it takes 32 MB by
#: default.
_POINTS, _CHARACTERS = 100, 8_000_000

#: Of Vespa's document ids, and the code points that it does not count as text.
_LONGEST_ID = 65_536
_NO_TEXT = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufddf"
    + "".join(chr(p * 65536 + n) for p in range(17) for n in (65534, 65535))
    + "]"
)

#: Of PostgreSQL's text format for COPY.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def point_id(name: str) -> str:
    """Qdrant's id of a document, as text; the id itself is in the payload.

    Qdrant takes numbers and UUIDs alone. One that follows from the document's id makes writing it again replace it.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


class QdrantWriter(TextWriter):
    """Bodies of `PUT /collections/NAME/points`, one a line.

    `{"points":[{"id":UUID,"vector":{NAME:{"indices":[…],"values":[…]}},"payload":{"id":…}},…]}`.
    """

    limits = Limits("Qdrant")

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._points: list[str] = []
        self._characters = 0

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One point."""
        indices, values = ",".join(map(str, terms)), ",".join(map(str, impacts))
        vector = f'{{"{self.settings.field}":{{"indices":[{indices}],"values":[{values}]}}}}'
        # uuid5 encodes the id, so that one that is no Unicode has to be found first.
        encode(name, [name])
        return f'{{"id":"{point_id(name)}","vector":{vector},"payload":{{"id":{quote(name)}}}}}'

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """Complete requests; see `FormatWriter.add`."""
        lines = []
        for point in self.documents(ids, impacts):
            self._points.append(point)
            self._characters += len(point)
            if len(self._points) == _POINTS or self._characters >= _CHARACTERS:
                lines.append(self._request())
        return "".join(lines).encode()

    def finish(self) -> Iterator[bytes]:
        """The last request."""
        if self._points:
            yield self._request().encode()

    def _request(self) -> str:
        line = f'{{"points":[{",".join(self._points)}]}}\n'
        self._points, self._characters = [], 0
        return line


class MilvusWriter(TextWriter):
    """Rows of Milvus' bulk import, as pymilvus' own bulk writer lays them out.

    `{"rows":[{"id":…,NAME:{"3":12.0,…}},…]}`, keys being term ids.
    """

    limits = Limits("Milvus", takes_empty=False, longest_id=65_535)
    opening, separator, closing = '{"rows":[\n', ",\n", "\n]}\n"
    after_impact = ".0"  # pymilvus refuses whole numbers

    def key(self, number: int, term: str) -> str:  # noqa: ARG002
        """A term's id."""
        return f'"{number}":'

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One row."""
        return f'{{"id":{quote(name)},"{self.settings.field}":{{{self.vector(terms, impacts)}}}}}'


class OpenSearchWriter(TextWriter):
    """A body of `POST /INDEX/_bulk` for a field of type `rank_features`, an action and a document a line each.

    `{"index":{"_id":…}}` and `{NAME:{term:impact,…}}`.
    """

    limits = Limits("OpenSearch", longest_id=512)

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """Two lines."""
        source = f'{{"{self.settings.field}":{{{self.vector(terms, impacts)}}}}}'
        return f'{{"index":{{"_id":{quote(name)}}}}}\n{source}\n'


class ElasticsearchWriter(OpenSearchWriter):
    """The same for `sparse_vector`, whose feature names may not hold a dot.

    Raises:
        InputError: replacing the dots would make two terms one.
    """

    limits = Limits("Elasticsearch", longest_id=512)

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._dotted = np.array(["." in term for term in vocabulary.terms], bool)
        if settings.replace_dots is not None:
            self._keys = [f"{quote(term)}:" for term in _without_dots(vocabulary, settings.replace_dots)]
            self._dotted[:] = False

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """Dots, besides the usual rules."""
        super().check(ids, impacts)
        rule = "Elasticsearch takes no dot in a feature's name: choose what stands for it, such as --replace-dots _dot_"
        refuse_terms(ids, impacts, self._dotted, self.vocabulary.terms, rule)


def _without_dots(vocabulary: Vocabulary, replacement: str) -> list[str]:
    if not replacement or "." in replacement:
        raise InputError(f"--replace-dots {replacement!r}: expected some text without a dot")
    renamed = [term.replace(".", replacement) for term in vocabulary.terms]
    seen: dict[str, str] = {}
    for term, name in zip(vocabulary.terms, renamed, strict=True):
        if seen.setdefault(name, term) != term:
            raise InputError(
                f"--replace-dots {replacement!r} makes {term!r} the same as {seen[name]!r}; choose another text"
            )
    return renamed


class VespaWriter(TextWriter):
    """A feed of put operations for a field of type `tensor<float>(token{})`.

    `{"put":"id:NAME:NAME::ID","fields":{FIELD:{"cells":{term:impact,…}}}}`.
    The short form without `cells` would be a trap: a term such as `cells`, `values` or `type` has a meaning there.
    """

    limits = Limits("Vespa")

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._prefix = f"id:{settings.collection}:{settings.collection}::"

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One operation."""
        identifier = self._prefix + name
        if not name or len(identifier) > _LONGEST_ID:
            raise document_error(name, f"its id is empty, or longer than {_LONGEST_ID:,} characters: rename it")
        if _NO_TEXT.search(name):
            raise document_error(name, "its id holds a character that Vespa does not take for text: rename it")
        cells = self.vector(terms, impacts)
        return f'{{"put":{quote(identifier)},"fields":{{"{self.settings.field}":{{"cells":{{{cells}}}}}}}}}\n'


class PgvectorWriter(TextWriter):
    """Text of `COPY table (id, embedding) FROM STDIN`, with a `sparsevec`: `id<TAB>{4:12,…}/V`, positions from 1."""

    limits = Limits("a pgvector index", most_terms=1_000)
    not_indexed = Limits("pgvector's sparsevec", most_terms=16_000)

    def key(self, number: int, term: str) -> str:  # noqa: ARG002
        """A position."""
        return f"{number + 1}:"

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """A column that is not indexed takes longer vectors."""
        (self.limits if self.settings.indexed else self.not_indexed).check(ids, impacts)

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One line."""
        if "\0" in name:
            raise document_error(name, "its id holds a NUL, which PostgreSQL cannot store: rename it")
        return f"{name.translate(_ESCAPES)}\t{{{self.vector(terms, impacts)}}}/{len(self._keys)}\n"
