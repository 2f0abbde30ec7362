"""Qdrant: request bodies for `PUT /collections/NAME/points`, one a line.

Qdrant's point ids are numbers or UUIDs. A document's is `uuid.uuid5(uuid.NAMESPACE_URL, id)`, so that writing it again
replaces it; the id itself is in the payload.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lexlip_infer.formats.limits import Limits, encode
from lexlip_infer.formats.text import TextWriter, quote

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["QdrantWriter", "point_id"]

#: A request holds at most so many points, and closes once it has so many characters: Qdrant takes 32 MB by default.
_POINTS, _CHARACTERS = 100, 8_000_000


def point_id(name: str) -> str:
    """The UUID of a document, as text."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


class QdrantWriter(TextWriter):
    """`{"points":[{"id":UUID,"vector":{NAME:{"indices":[…],"values":[…]}},"payload":{"id":…}},…]}`."""

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
