"""The base of every text format: one piece of text a document, joined, with an opening and a closing where needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring as quote
from typing import TYPE_CHECKING, ClassVar

from lexlip_infer.formats.limits import Limits, check_chunk, check_vocabulary, encode

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["TextWriter", "quote"]


class TextWriter(ABC):
    """Subclasses say what one document looks like, and what the engine takes.

    Attributes:
        limits: the engine's rules.
        opening: before the first document, and of an empty file.
        separator: between two documents.
        closing: after the last.
    """

    limits: ClassVar[Limits]
    opening: ClassVar[str] = ""
    separator: ClassVar[str] = ""
    closing: ClassVar[str] = ""

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        check_vocabulary(vocabulary.terms)
        self.vocabulary = vocabulary
        self.settings = settings
        self._begun = False

    @abstractmethod
    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One document.

        Args:
            name: its id.
            terms: term ids, ascending.
            impacts: of these terms.

        Raises:
            InputError: a rule that only this format has.
        """

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """The engine's rules; subclasses add theirs."""
        self.limits.check(ids, impacts)

    def documents(self, ids: Sequence[str], impacts: ImpactMatrix) -> list[str]:
        """(N,) texts of documents that have been checked."""
        check_chunk(ids, impacts, len(self.vocabulary))
        self.check(ids, impacts)
        bounds = impacts.indptr.tolist()
        terms, values = impacts.indices.tolist(), impacts.impacts.tolist()
        return [
            self.document(name, terms[start:end], values[start:end])
            for name, start, end in zip(ids, bounds, bounds[1:], strict=False)
        ]

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """See `FormatWriter.add`."""
        texts = self.documents(ids, impacts)
        if not texts:
            return b""
        before, self._begun = self.separator if self._begun else self.opening, True
        return encode(before + self.separator.join(texts), ids)

    def finish(self) -> Iterator[bytes]:
        """See `FormatWriter.finish`."""
        yield (("" if self._begun else self.opening) + self.closing).encode()

    def by_term(self) -> list[str]:
        """(V,) each term as a JSON key."""
        return [f"{quote(term)}:" for term in self.vocabulary.terms]
