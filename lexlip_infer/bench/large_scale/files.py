"""Where an experiment keeps what: prepared documents and queries, indexes, rankings. Nothing else knows these names.

OUT/journal.json             settings and finished steps
OUT/report.md, results.json, *.png
OUT/data/queries.json        texts of the queries, their relevant documents, terms of the vocabulary
OUT/data/DOCUMENTS/          documents of one kind, until every system that indexes them has done so
OUT/data/DOCUMENTS.queries.* the queries in the form of that kind
OUT/indexes/SYSTEM/          what the system built
OUT/rankings/SYSTEM.json     its ten best documents of each query
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.files import write_whole
from lexlip_infer.search.engine import Ranking
from lexlip_kernels import ImpactMatrix

__all__ = ["ExperimentFiles", "load_impacts", "read_ranking", "save_impacts", "write_ranking"]


@dataclass(frozen=True, slots=True)
class ExperimentFiles:
    """Paths of an experiment.

    Attributes:
        root: its folder.
    """

    root: Path

    @property
    def data(self) -> Path:
        """Of everything prepared."""
        return self.root / "data"

    @property
    def queries(self) -> Path:
        """Texts of the queries, relevant ids, vocabulary."""
        return self.data / "queries.json"

    def weights(self, modality: str) -> Path:
        """Un-pruned vectors of "images" or "texts" of the test collection."""
        return self.data / f"{modality}.npz"

    def documents(self, kind: str) -> Path:
        """A folder of prepared documents."""
        return self.data / kind

    def query_vectors(self, kind: str) -> Path:
        """Queries for documents of that kind; texts are in `queries` instead."""
        return self.data / f"{kind}.queries.{'npy' if kind == 'vectors' else 'npz'}"

    def index(self, system: str) -> Path:
        """What the system built: a folder or a file of its own making."""
        return self.root / "indexes" / system

    def ranking(self, system: str) -> Path:
        """Its best documents of each query."""
        return self.root / "rankings" / f"{system}.json"

    def read_queries(self) -> dict[str, Any]:
        """`texts`, `relevant` and `terms`."""
        found: dict[str, Any] = json.loads(self.queries.read_bytes())
        return found


def save_impacts(path: Path, matrix: ImpactMatrix) -> None:
    """Write a matrix as .npz."""
    arrays: dict[str, npt.NDArray[np.integer[Any]]] = {
        "indptr": matrix.indptr,
        "indices": matrix.indices,
        "impacts": matrix.impacts,
        "vocab_size": np.array(matrix.vocab_size),
    }
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_impacts(path: Path) -> ImpactMatrix:
    """Read what `save_impacts` wrote."""
    with np.load(path) as arrays:
        return ImpactMatrix(arrays["indptr"], arrays["indices"], arrays["impacts"], int(arrays["vocab_size"]))


def write_ranking(path: Path, ranking: Ranking) -> None:
    """Write ids and scores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scores: Sequence[list[float]] = [row.tolist() for row in ranking.scores]
    write_whole(path, json.dumps({"ids": ranking.ids, "scores": scores}, ensure_ascii=False).encode())


def read_ranking(path: Path) -> Ranking:
    """Read what `write_ranking` wrote."""
    found = json.loads(path.read_bytes())
    return Ranking(found["ids"], [np.array(row, np.float64) for row in found["scores"]])
