"""Whatever can be searched with encoded queries, opened by what lies in the folder: an index, or an output as it is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lexlip_infer.collection.collection import Collection
from lexlip_infer.collection.manifest import EncodedWith, is_output, read_manifest
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.search.anserini import AnseriniEngine
from lexlip_infer.search.anserini.lucene import read_record
from lexlip_infer.search.engine import Hit, Ranking
from lexlip_infer.search.exact import ExactEngine
from lexlip_infer.search.registry import is_anserini_index, is_exact_index
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

__all__ = ["ENGINES", "ImpactEngine", "Searchable", "hits_of", "open_searchable"]

ENGINES = ("auto", "exact", "anserini")


class ImpactEngine(Protocol):
    """Searches with impacts."""

    def search(self, queries: ImpactMatrix, k: int, threads: int = 1) -> Ranking:
        """See `SearchEngine.search`."""
        ...


@dataclass(frozen=True, slots=True)
class Searchable:
    """What a folder holds.

    Attributes:
        encoded_with: how queries are to be encoded; nothing where that is not known.
        vocabulary: the terms, where the folder says them itself; others leave that to the model.
        open: maps or loads it.
    """

    encoded_with: EncodedWith | None
    vocabulary: Vocabulary | None
    open: Callable[[Vocabulary], ImpactEngine]


def open_searchable(path: Path, engine: str = "auto") -> Searchable:
    """Look at a folder.

    Args:
        path: an index, or an output of lexlip-encode.
        engine: `"auto"`, or what the folder has to be for.

    Raises:
        InputError: there is no such engine, or the folder is for another one.
        OutputError: the folder is neither an index nor an output, or is damaged.
    """
    if engine not in ENGINES:
        raise InputError(f"--engine {engine}: no such engine; expected one of {', '.join(ENGINES)}")
    found = "anserini" if is_anserini_index(path) else "exact"
    if engine not in {"auto", found} and path.exists():
        raise InputError(f"{path} is for the engine {found}, not {engine}; build another index with lexlip index")
    if found == "anserini":
        settings = read_record(path, found).settings
        encoded_with = None if settings is None else settings.encoded_with
        return Searchable(encoded_with, None, lambda terms: AnseriniEngine.open(path, terms.terms))
    if is_exact_index(path):
        index = ExactEngine.open(path)
        return Searchable(index.manifest.encoded_with, index.vocab, lambda _: index)
    if not is_output(path):
        raise OutputError(f"{path}: neither an index nor the output of lexlip-encode; build one with lexlip index")
    return Searchable(read_manifest(path).settings.encoded_with, None, lambda terms: _Output.open(path, terms))


@dataclass(frozen=True, slots=True)
class _Output:
    """An output folder, read and indexed in memory."""

    ids: list[str]
    matrix: ImpactMatrix
    index: ImpactIndex

    @classmethod
    def open(cls, path: Path, vocabulary: Vocabulary) -> _Output:
        ids, matrix = Collection.open_output(path, vocabulary=vocabulary, unfinished=True).in_id_order()
        return cls(ids, matrix, ImpactIndex.build(matrix))

    def search(self, queries: ImpactMatrix, k: int, threads: int = 1) -> Ranking:
        names = self.ids
        found = self.index.search(queries, min(k, len(names)), threads)
        kept = [rows >= 0 for rows in found.rows]
        return Ranking(
            [[names[row] for row in rows[keep].tolist()] for rows, keep in zip(found.rows, kept, strict=True)],
            [scores[keep].astype(np.float64) for scores, keep in zip(found.scores, kept, strict=True)],
        )

    def impacts_of(self, name: str, terms: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        indices, impacts = self.matrix.row(bisect_left(self.ids, name))
        at = np.minimum(np.searchsorted(indices, terms), len(indices) - 1)
        return np.where(indices[at] == terms, impacts[at], 0).astype(np.int32)


def hits_of(engine: ImpactEngine, queries: ImpactMatrix, query: int, ranking: Ranking, terms: Vocabulary) -> list[Hit]:
    """The results of one query with the terms that matched, where the engine can tell."""
    return [
        Hit(rank, round(score), name, _shares(engine, queries.row(query), name, terms))
        for rank, (name, score) in enumerate(zip(ranking.ids[query], ranking.scores[query], strict=True), start=1)
    ]


def _shares(
    engine: ImpactEngine,
    query: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]],
    name: str,
    vocabulary: Vocabulary,
) -> tuple[tuple[str, int], ...]:
    if not isinstance(engine, ExactEngine | _Output):
        return ()
    terms, impacts = query
    shares = impacts.astype(np.int64) * engine.impacts_of(name, terms)
    order = np.lexsort((terms, -shares))
    return tuple((vocabulary.terms[terms[i]], int(shares[i])) for i in order if shares[i])
