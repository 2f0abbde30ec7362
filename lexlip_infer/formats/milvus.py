"""Milvus: a JSON file for its bulk import, row by row, as pymilvus' own bulk writer lays it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.formats.limits import Limits
from lexlip_infer.formats.text import TextWriter, quote

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary

__all__ = ["MilvusWriter"]


class MilvusWriter(TextWriter):
    """`{"rows":[{"id":…,NAME:{"3":12.0,…}},…]}`, keys being term ids."""

    limits = Limits("Milvus", takes_empty=False, longest_id=65_535)
    opening, separator, closing = '{"rows":[\n', ",\n", "\n]}\n"

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._keys = [f'"{term}":' for term in range(len(vocabulary))]

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One row; values are floats, because pymilvus refuses whole numbers."""
        vector = ",".join([f"{self._keys[term]}{impact}.0" for term, impact in zip(terms, impacts, strict=True)])
        return f'{{"id":{quote(name)},"{self.settings.field}":{{{vector}}}}}'
