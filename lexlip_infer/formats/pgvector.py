"""pgvector: text for `COPY table (id, embedding) FROM STDIN`, the vector being a `sparsevec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lexlip_infer.formats.limits import Limits, document_error
from lexlip_infer.formats.text import TextWriter

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["PgvectorWriter"]

#: Of COPY's text format.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class PgvectorWriter(TextWriter):
    """`id<TAB>{4:12,…}/V`: positions count from 1."""

    limits = Limits("a pgvector index", most_terms=1_000)
    not_indexed = Limits("pgvector's sparsevec", most_terms=16_000)

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._keys = [f"{position}:" for position in range(1, len(vocabulary) + 1)]

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """A column that is not indexed takes longer vectors."""
        (self.limits if self.settings.indexed else self.not_indexed).check(ids, impacts)

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One line."""
        if "\0" in name:
            raise document_error(name, "its id holds a NUL, which PostgreSQL cannot store: rename it")
        vector = ",".join([f"{self._keys[term]}{impact}" for term, impact in zip(terms, impacts, strict=True)])
        return f"{name.translate(_ESCAPES)}\t{{{vector}}}/{len(self._keys)}\n"
