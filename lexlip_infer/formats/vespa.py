"""Vespa: a feed of put operations as JSON lines, for a field of type `tensor<float>(token{})`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lexlip_infer.formats.limits import Limits, document_error
from lexlip_infer.formats.text import TextWriter, quote

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary

__all__ = ["VespaWriter"]

_LONGEST_ID = 65_536
_NO_TEXT = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufddf"
    + "".join(chr(p * 65536 + n) for p in range(17) for n in (65534, 65535))
    + "]"
)
"""Code points that Vespa does not count as text."""


class VespaWriter(TextWriter):
    """`{"put":"id:NAME:NAME::ID","fields":{FIELD:{"cells":{term:impact,…}}}}`.

    The short form without `cells` would be a trap: a term such as `cells`, `values` or `type` has a meaning there.
    """

    limits = Limits("Vespa")

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._keys = self.by_term()
        self._prefix = f"id:{settings.collection}:{settings.collection}::"

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One operation."""
        identifier = self._prefix + name
        if not name or len(identifier) > _LONGEST_ID:
            raise document_error(name, f"its id is empty, or longer than {_LONGEST_ID:,} characters: rename it")
        if _NO_TEXT.search(name):
            raise document_error(name, "its id holds a character that Vespa does not take for text: rename it")
        cells = ",".join([f"{self._keys[term]}{impact}" for term, impact in zip(terms, impacts, strict=True)])
        return f'{{"put":{quote(identifier)},"fields":{{"{self.settings.field}":{{"cells":{{{cells}}}}}}}}}\n'
