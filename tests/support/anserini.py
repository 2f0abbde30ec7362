"""Anserini for the tests that compare something with it: of `impact_dot`, and of the graph for its query encoder.

A process that has started Java must not fork: what needs it runs in a process of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from lexlip_infer.impacts import JsonLinesWriter
from lexlip_infer.search.anserini import AnseriniEngine, build_anserini_index
from lexlip_infer.search.anserini.java import anserini_jar, java_home, start_java
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import SearchResult


def check_installed() -> None:
    """Raise MissingExtra or BackendUnavailable where there is no pyserini, or no Java that runs it; starts neither."""
    anserini_jar()
    java_home()


def build_index(documents: ImpactMatrix, terms: Sequence[str], folder: Path) -> Path:
    """Index documents; an id is the document's row, padded so that ids sort as rows do."""
    (folder / "collection").mkdir(parents=True)
    lines = JsonLinesWriter(terms).encode([f"{row:08}" for row in range(len(documents))], documents)
    (folder / "collection" / "part-00000.jsonl").write_bytes(lines)
    build_anserini_index(folder / "collection", folder / "index", 1)
    return folder / "index"


def search_in_new_process(
    index: Path, queries: ImpactMatrix, terms: Sequence[str], depths: Sequence[int]
) -> list[SearchResult]:
    """The k best documents of each query in the form of `ImpactIndex.search`, for each k of `depths`."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_search, index, queries, terms, depths).result()


def _search(index: Path, queries: ImpactMatrix, terms: Sequence[str], depths: Sequence[int]) -> list[SearchResult]:
    engine = AnseriniEngine.open(index, terms)
    results = []
    for k in depths:
        found = engine.search(queries, k)
        result = SearchResult(np.full((len(queries), k), -1, np.int32), np.zeros((len(queries), k), np.int32))
        for rows, scores, ids, theirs in zip(result.rows, result.scores, found.ids, found.scores, strict=True):
            rows[: len(ids)] = [int(name) for name in ids]
            scores[: len(ids)] = theirs
        results.append(result)
    return results


def assert_same_hits(actual: SearchResult, expected: SearchResult) -> None:
    """Equal scores at every rank, and equal documents except inside the tie at the last rank."""
    np.testing.assert_array_equal(actual.scores, expected.scores)
    settled = expected.scores > expected.scores[:, -1:]
    np.testing.assert_array_equal(np.where(settled, actual.rows, -1), np.where(settled, expected.rows, -1))


def encode_in_new_process(model: Path, vocabulary: Path, texts: Sequence[str], home: Path) -> list[dict[str, int]]:
    """Impacts that Anserini's SpladeEncoder gives each text.

    Args:
        model: the ONNX graph of Anserini's contract.
        vocabulary: its vocabulary file.
        texts: queries.
        home: an empty folder to be Java's home of the user, where Anserini looks for models before it downloads any.
    """
    encoders = home / ".cache" / "pyserini" / "encoders"
    encoders.mkdir(parents=True)
    shutil.copy(model, encoders / "splade-v3-optimized.onnx")
    shutil.copy(vocabulary, encoders / "splade-v3-vocab.txt")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_encode, list(texts), home).result()


def _encode(texts: list[str], home: Path) -> list[dict[str, int]]:
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # pyserini makes a client while it is imported
    start_java("-Xmx2g", f"-Duser.home={home}")
    from jnius import autoclass

    # The constructor of SpladeEncoder itself is not public; this heir of it only names the files.
    encoder = autoclass("io.anserini.encoder.sparse.SpladeV3Encoder")()
    encoded = [encoder.encode(text) for text in texts]
    return [{str(entry.getKey()): int(entry.getValue()) for entry in row.entrySet().toArray()} for row in encoded]
