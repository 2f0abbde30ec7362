"""Bag of words: how many distinct words query and text share. The floor under every text baseline; needs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.search.engine import Ranking
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

__all__ = ["BagOfWordsEngine"]

_WORD = re.compile(r"\w+")


class BagOfWordsEngine:
    """N texts in memory.

    Args:
        ids: of the texts.
        texts: lower-cased and split at what is neither letter, digit nor underscore.

    Raises:
        InputError: there are not as many ids as texts, or none.
    """

    def __init__(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        if len(ids) != len(texts) or not ids:
            raise InputError(f"{len(ids)} ids and {len(texts)} texts were given; expected as many, and at least one")
        order = sorted(range(len(ids)), key=ids.__getitem__)  # ties come by id
        self._ids = [ids[row] for row in order]
        bags = [_words(texts[row]) for row in order]
        self._vocabulary = {word: number for number, word in enumerate(dict.fromkeys(w for bag in bags for w in bag))}
        self._index = ImpactIndex.build(_matrix(bags, self._vocabulary))

    @property
    def documents(self) -> int:
        """N."""
        return len(self._ids)

    @property
    def bytes_on_disk(self) -> int:
        """Of the arrays of its index, which stays in memory: what a file of them would take."""
        return self._index.nbytes

    def search(self, queries: Sequence[str], k: int, threads: int = 1) -> Ranking:
        """See `SearchEngine.search`; a text is found by one shared word.

        Raises:
            InputError: k or threads is below 1, or a single str was given.
        """
        if isinstance(queries, str):
            raise InputError("a single str was given; expected a list of texts: [text]")
        found = self._index.search(_matrix([_words(text) for text in queries], self._vocabulary), k, threads)
        ids = [[self._ids[row] for row in rows if row >= 0] for rows in found.rows]
        hits = zip(found.rows, found.scores, strict=True)
        return Ranking(ids, [scores[rows >= 0].astype(np.float64) for rows, scores in hits])


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _matrix(bags: Iterable[set[str]], vocabulary: Mapping[str, int]) -> ImpactMatrix:
    """Impacts of 1; words outside the vocabulary match nothing and are left out."""
    rows = ([(vocabulary[word], 1) for word in bag if word in vocabulary] for bag in bags)
    return ImpactMatrix.from_rows(rows, len(vocabulary))
