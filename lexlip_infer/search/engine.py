"""What every search engine has in common: queries in, ranked document ids and scores out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Ranking", "SearchEngine"]

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
