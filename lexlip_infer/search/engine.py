"""What all search engines have in common: how queries become what they take, and what they give.

An opened index is asked through `SearchEngine.search`. Which engines there are says `lexlip_infer.search.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Queries_contra = TypeVar("Queries_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents of Q queries, best first; fewer than k where fewer match.

    Attributes:
        ids: for each query, document ids.
        scores: for each query, their scores, as many, never increasing.
    """

    ids: list[list[str]]
    scores: list[npt.NDArray[np.float64]]


class SearchEngine(Protocol[Queries_contra]):
    """An opened index. Queries are `ImpactMatrix` (impacts), float32 (Q, D) unit vectors, or `Sequence[str]`."""

    def search(self, queries: Queries_contra, k: int, threads: int = 1) -> Ranking:
        """The k best documents of each query."""
        ...


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    Attributes:
        rank: from 1.
        score: integer dot product of the impacts of query and document; of BM25 and Faiss a float of their own.
        id: of the document.
        terms: (term, its share of the score) of each term they have in common, largest first; the shares add up to
            the score. Empty where the engine cannot tell (Anserini, BM25, Faiss).
        path: of the document's photograph, where it is known.
    """

    rank: int
    score: float
    id: str
    terms: tuple[tuple[str, int], ...] = ()
    path: Path | None = None
