"""OpenSearch and Elasticsearch: bodies for `POST /INDEX/_bulk`, an action and a document a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.formats.limits import Limits, refuse_terms
from lexlip_infer.formats.text import TextWriter, quote

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["ElasticsearchWriter", "OpenSearchWriter"]


class OpenSearchWriter(TextWriter):
    """`{"index":{"_id":…}}` and `{NAME:{term:impact,…}}`, for a field of type `rank_features`."""

    limits = Limits("OpenSearch", longest_id=512)

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        super().__init__(vocabulary, settings)
        self._keys = self.by_term()

    def document(self, name: str, terms: list[int], impacts: list[int]) -> str:
        """Two lines."""
        vector = ",".join([f"{self._keys[term]}{impact}" for term, impact in zip(terms, impacts, strict=True)])
        return f'{{"index":{{"_id":{quote(name)}}}}}\n{{"{self.settings.field}":{{{vector}}}}}\n'


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
