"""Impacts in Lucene: the engine of the paper. Its scores are the integers that the exact engine gives.

Lucene adds in float32, which is exact below 2^24; larger scores are refused. Anserini lowers the i-th of equal scores
by i * 1e-6, which is undone here. Ties come by id, ascending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from lexlip_infer.collection.collection import read_finished
from lexlip_infer.collection.manifest import MANIFEST, VECTORS, RunSettings
from lexlip_infer.errors import InputError
from lexlip_infer.files import new_folder
from lexlip_infer.impacts.lint.files import collection_files, numbered_lines
from lexlip_infer.impacts.lint.findings import Findings
from lexlip_infer.search.anserini.java import anserini_jar, java_class
from lexlip_infer.search.anserini.lucene import (
    LUCENE,
    AnseriniRecord,
    LuceneIndex,
    open_lucene,
    run_indexer,
    search_batch,
    write_record,
)
from lexlip_infer.search.engine import Ranking
from lexlip_kernels import ImpactMatrix

#: From here on, float32 skips integers.
_INEXACT = 2**24

#: Lucene's own limit on the terms of a query, which is a guard and no limit of its format.
_CLAUSES = 1024


def build_anserini_index(vectors: Path, index: Path, threads: int) -> AnseriniRecord:
    """Index documents with Anserini.

    Args:
        vectors: an output folder of lexlip-encode, its `vectors/`, or any folder of Anserini's JSON lines.
        index: folder to write.
        threads: files are spread over them.

    Raises:
        MissingExtra: the extra is not installed.
        BackendUnavailable: Java does not run, or the indexer failed.
        InputError: there is nothing to index, the run that writes it has not finished, or Anserini left a document out.
        OutputError: a part file has changed, or the index exists or cannot be written.
    """
    folder, expected, settings = _documents(vectors)
    jar = anserini_jar().name
    with new_folder(index) as partial:
        found = run_indexer("JsonVectorCollection", folder, partial / LUCENE, threads, "-impact", "-pretokenized")
        if found != expected:
            raise InputError(
                f"{folder}: Anserini indexed {found} of {expected} documents; it leaves out those without terms and "
                "lines it cannot read: lexlip check names them"
            )
        record = AnseriniRecord(
            engine="anserini", anserini=jar, source=str(vectors.absolute()), documents=found, settings=settings
        )
        write_record(partial, record)
    return record


def _documents(vectors: Path) -> tuple[Path, int, RunSettings | None]:
    """The folder for Anserini, how many documents it holds, and the settings of the run that wrote it."""
    output = vectors if (vectors / MANIFEST).is_file() else vectors.parent
    if (output / MANIFEST).is_file() and vectors in {output, output / VECTORS}:
        manifest = read_finished(output)
        return output / VECTORS, manifest.documents, manifest.settings
    if not vectors.is_dir():
        raise InputError(f"{vectors}: no such folder; expected an output of lexlip-encode, or JSON lines")
    findings = Findings()
    count = sum(1 for file in collection_files(vectors, findings) for _ in numbered_lines(file, findings))
    for finding in findings.report():
        raise InputError(f"{finding.places[0]}: {finding.consequence}")
    return vectors, count, None


@dataclass(frozen=True, slots=True)
class AnseriniEngine(LuceneIndex):
    """An impact index of Anserini's, opened for search. Make it with `open`; see `LuceneIndex`."""

    _terms: tuple[str, ...]

    @classmethod
    def open(cls, index: Path, terms: Sequence[str]) -> Self:
        """Start Java in this process and open an index.

        Args:
            index: folder that `build_anserini_index` wrote.
            terms: V, the vocabulary of the queries.

        Raises:
            OutputError: the folder is no such index.
            MissingExtra: the extra is not installed.
            BackendUnavailable: Java does not run.
        """
        opened = open_lucene(index, "anserini")
        limit = java_class("org.apache.lucene.search.IndexSearcher")
        limit.setMaxClauseCount(max(_CLAUSES, limit.getMaxClauseCount(), len(terms)))
        return cls(*opened, tuple(terms))

    def search(self, queries: ImpactMatrix, k: int, threads: int = 1) -> Ranking:
        """See `SearchEngine.search`; queries may have any number of terms, none included.

        Raises:
            InputError: k or threads is below 1, the vocabularies differ, or a score is 2^24 or more, which Anserini
                rounds.
            BackendUnavailable: Anserini failed.
        """
        if queries.vocab_size != len(self._terms):
            raise InputError(
                f"vocabularies differ: queries have {queries.vocab_size} terms, the index {len(self._terms)}; "
                "encode both with the same model"
            )
        given = search_batch(self._searcher, [self._as_dict(queries, row) for row in range(len(queries))], k, threads)
        return Ranking(given.ids, [_exact(number, scores) for number, scores in enumerate(given.scores)])

    def _as_dict(self, queries: ImpactMatrix, row: int) -> dict[str, int]:
        terms, impacts = queries.row(row)
        return {self._terms[term]: impact for term, impact in zip(terms.tolist(), impacts.tolist(), strict=True)}


def _exact(query: int, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(scores) and scores[0] >= _INEXACT:
        raise InputError(
            f"query {query}: a score of {scores[0]:.0f}; from 2^24 on Anserini rounds: quantise queries or documents "
            "coarser, or search with the exact engine"
        )
    exact: npt.NDArray[np.float64] = np.rint(scores)
    return exact
