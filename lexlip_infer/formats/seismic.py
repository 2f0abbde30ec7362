"""Seismic: JSON lines for `SeismicIndex.build`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.formats.limits import Limits, refuse_terms
from lexlip_infer.formats.text import TextWriter, quote

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["SeismicWriter"]

#: Characters of a query's term (numpy's U100); a longer one is cut, and then found nowhere.
_LONGEST_TERM = 100


class SeismicWriter(TextWriter):
    """`{"id":…,"content":"","vector":{term:impact,…}}`."""

    # It keeps values in half precision.
    limits = Limits("Seismic", largest_impact=2_048)

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._keys = self.by_term()
        self._long = np.array([len(term) > _LONGEST_TERM for term in vocabulary.terms], bool)

    def check(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """Long terms, besides the usual rules."""
        super().check(ids, impacts)
        rule = f"Seismic's queries hold terms of at most {_LONGEST_TERM} characters: leave it out"
        refuse_terms(ids, impacts, self._long, self.vocabulary.terms, rule)

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """One line."""
        vector = ",".join([f"{self._keys[term]}{impact}" for term, impact in zip(terms, impacts, strict=True)])
        return f'{{"id":{quote(name)},"content":"","vector":{{{vector}}}}}\n'
