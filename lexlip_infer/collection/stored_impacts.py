"""Stored documents as a stream of chunks: an output of lexlip-encode, or any folder of Anserini's JSON lines.

Memory holds one part file of an output (its hash is compared before a line is read), or one chunk of lines.
"""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lexlip_infer.collection.manifest import RunManifest
from lexlip_infer.collection.written_output import VECTORS, check_finished, read_shard
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import JsonLinesParser, collect_terms
from lexlip_infer.impacts.lint.files import collection_files
from lexlip_infer.impacts.lint.findings import Findings
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

__all__ = ["CHUNK", "Chunk", "JsonLinesFiles", "RunOutput", "StoredImpacts", "collect_vocabulary"]

#: Documents of a chunk.
CHUNK = 2_000

Chunk = tuple[list[str], ImpactMatrix]


@dataclass(frozen=True, slots=True)
class RunOutput:
    """A finished output of lexlip-encode.

    Raises:
        InputError: the run that writes it has not finished.
        OutputError: a part file is missing, changed or added.
    """

    folder: Path
    manifest: RunManifest
    vocabulary: Vocabulary

    def __post_init__(self) -> None:
        check_finished(self.folder, self.manifest)

    @property
    def scale(self) -> float | None:
        """Of the quantiser."""
        return self.manifest.settings.scale

    @property
    def documents(self) -> int:
        """N."""
        return self.manifest.documents

    def chunks(self) -> Iterator[Chunk]:
        """All documents, in the order of the part files.

        Raises:
            OutputError: a part file has changed since it was written.
            InputError: it holds terms that the vocabulary does not have.
        """
        for record in self.manifest.shards:
            source = str(self.folder / VECTORS / record.name)
            data = io.BytesIO(read_shard(self.folder, record))
            yield from _chunks(data, self.vocabulary, source)


class JsonLinesFiles:
    """Documents that anyone wrote, plain or gzip.

    Args:
        path: a file, or a folder; below it every file has to be one of JSON lines.
        vocabulary: all their terms.

    Raises:
        InputError: there is nothing, or a file that Anserini would misread.
    """

    scale: float | None = None
    documents: int | None = None

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._files = _files(path)

    def chunks(self) -> Iterator[Chunk]:
        """All documents, in the order of the files' names.

        Raises:
            InputError: a file cannot be read, or a line is malformed; the message names file and line.
        """
        for file in self._files:
            yield from _chunks(_lines(file), self.vocabulary, str(file))


StoredImpacts = RunOutput | JsonLinesFiles


def collect_vocabulary(path: Path) -> Vocabulary:
    """Every term of a collection, in order of its first occurrence; memory holds these alone.

    Raises:
        InputError: as `JsonLinesFiles`.
    """
    terms: dict[str, None] = {}
    for file in _files(path):
        for chunk in _chunked(_lines(file)):
            terms.update(dict.fromkeys(collect_terms(chunk.lines, str(file), chunk.first)))
    return Vocabulary(tuple(terms))


@dataclass(frozen=True, slots=True)
class _Lines:
    first: int
    lines: list[bytes]


def _chunked(lines: Iterable[bytes]) -> Iterator[_Lines]:
    numbered = iter(lines)
    for first in itertools.count(1, CHUNK):
        chunk = list(itertools.islice(numbered, CHUNK))
        if not chunk:
            return
        yield _Lines(first, chunk)


def _chunks(lines: Iterable[bytes], vocabulary: Vocabulary, source: str) -> Iterator[Chunk]:
    parser = JsonLinesParser(vocabulary)
    for chunk in _chunked(lines):
        yield parser.parse(b"".join(chunk.lines), source, chunk.first)


def _files(path: Path) -> list[Path]:
    findings = Findings()
    files = list(collection_files(path, findings))
    for finding in findings.report():
        raise InputError(f"{finding.places[0]}: {finding.consequence}")
    if not files:
        raise InputError(f"{path}: holds no file of JSON lines (.jsonl, .json, .jsonl.gz, .json.gz)")
    return files


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with _open(path) as file:
            yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); copy it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]
