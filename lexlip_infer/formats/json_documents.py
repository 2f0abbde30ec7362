"""Formats without an engine's rules: TEI's answer to `/embed_sparse`, and the ids that it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.formats.limits import Limits
from lexlip_infer.formats.text import TextWriter, quote

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary

__all__ = ["IdsWriter", "TeiWriter"]


class TeiWriter(TextWriter):
    """`[[{"index":3,"value":12},…],…]`: one JSON array, one array of terms a document."""

    limits = Limits("float32")
    opening, separator, closing = "[\n", ",\n", "\n]\n"

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._keys = [f'{{"index":{term},"value":' for term in range(len(vocabulary))]

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:  # noqa: ARG002
        """One array; the id has no place in it."""
        pairs = [f"{self._keys[term]}{impact}}}" for term, impact in zip(terms, impacts, strict=True)]
        return f"[{','.join(pairs)}]"


class IdsWriter(TextWriter):
    """One id a line, as a JSON string, in the order of the documents."""

    limits = Limits("ids", largest_impact=2**31 - 1)

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:  # noqa: ARG002
        """One line."""
        return quote(name) + "\n"
