"""The folder a run writes to, so arranged that a kill at any instant loses one unfinished shard and nothing else.

    OUT/vectors/part-00000.jsonl   finished shards, and nothing else: Anserini parses every file it finds there
    OUT/failures.jsonl             inputs that could not be encoded
    OUT/manifest.json              the journal; see `manifest.py`
    OUT/.tmp/                      what is being written

Order of a commit: the shard is written, synced and renamed; then the failures are rewritten whole; then the manifest.
A shard without its manifest entry is written again, and so are its failures.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from lexlip_infer.errors import OutputError
from lexlip_infer.pipeline.folder_lock import locked
from lexlip_infer.pipeline.manifest import RunManifest, RunSettings, ShardRecord
from lexlip_infer.pipeline.written_output import FAILURES, MANIFEST, VECTORS, check_shards, read_manifest, shard_name

__all__ = ["Failure", "OutputFolder", "ShardWriter"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One input that gave no vector, as a line of `failures.jsonl`."""

    id: str
    path: str
    stage: str
    error: str


class OutputFolder:
    """An output folder opened for one run: new, or continued where it stopped. Build it with `open`."""

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, settings: RunSettings) -> Iterator[OutputFolder]:
        """Open a folder and keep other runs out of it while the block runs.

        Args:
            folder: created if missing.
            settings: of this run.

        Raises:
            OutputError: the folder holds something else, another run's output, is being written by another run, or
                cannot be written.
        """
        with _writing(folder):
            if folder.exists() and not folder.is_dir():
                raise _foreign(folder)
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                yield cls(folder, settings)

    def __init__(self, folder: Path, settings: RunSettings) -> None:
        self.folder = folder
        self._temporary = folder / ".tmp"
        if (folder / MANIFEST).exists():
            self.manifest = read_manifest(folder)
            _check_same(folder, self.manifest.settings, settings)
            check_shards(folder, self.manifest)
        else:
            if not _is_new(folder):
                raise _foreign(folder)
            self.manifest = RunManifest(version=version("lexlip-infer"), settings=settings)
        self._failures = self._known_failures()
        if self.manifest.complete:
            shutil.rmtree(self._temporary, ignore_errors=True)  # a kill may have come just before its removal
            return
        self._temporary.mkdir(exist_ok=True)
        self._replace(MANIFEST, self.manifest.model_dump_json(indent=2).encode() + b"\n")
        (folder / VECTORS).mkdir(exist_ok=True)

    def finished(self, shard: int) -> bool:
        """Whether this shard is written already."""
        return shard < len(self.manifest.shards)

    @contextlib.contextmanager
    def shard(self) -> Iterator[ShardWriter]:
        """Write the next shard; it is committed when the block ends without an exception, or not at all."""
        name = shard_name(self.manifest)
        writer = ShardWriter(self._temporary / name)
        try:
            yield writer
            writer.sync()
        finally:
            writer.close()
        (self._temporary / name).replace(self.folder / VECTORS / name)
        _sync_folder(self.folder / VECTORS)
        self._failures += writer.failures
        self._write_failures()
        shards = (*self.manifest.shards, writer.record(name))
        self._update(self.manifest.model_copy(update={"shards": shards}))

    def complete(self) -> None:
        """Mark the run as finished and remove the temporary folder."""
        self._write_failures()
        self._update(self.manifest.model_copy(update={"complete": True}))
        shutil.rmtree(self._temporary)

    def _update(self, manifest: RunManifest) -> None:
        self._replace(MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
        self.manifest = manifest

    def _write_failures(self) -> None:
        # ASCII with escapes: an id may hold bytes that are no text, and must not be lost for it.
        lines = [json.dumps(asdict(failure)) + "\n" for failure in self._failures]
        self._replace(FAILURES, "".join(lines).encode())

    def _replace(self, name: str, data: bytes) -> None:
        partial = self._temporary / name
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / name)
        _sync_folder(self.folder)

    def _known_failures(self) -> list[Failure]:
        """Failures of the finished shards; lines beyond those belong to a shard that will be written again."""
        count = self.manifest.failed
        if count == 0:
            return []
        try:
            lines = (self.folder / FAILURES).read_text().splitlines()[:count]
            failures = [Failure(**json.loads(line)) for line in lines]
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(f"{self.folder / FAILURES}: cannot be read back ({error})") from None
        if len(failures) < count:
            raise OutputError(f"{self.folder / FAILURES}: {len(failures)} lines; the manifest counts {count}")
        return failures


class ShardWriter:
    """One part file being written."""

    def __init__(self, path: Path) -> None:
        self.failures: list[Failure] = []
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self._size = self._documents = self._empty = self._impacts = 0

    def write(self, lines: bytes, documents: int, empty: int, impacts: int) -> None:
        """Append finished JSON lines, with what they hold."""
        self._file.write(lines)
        self._hash.update(lines)
        self._size += len(lines)
        self._documents += documents
        self._empty += empty
        self._impacts += impacts

    def sync(self) -> None:
        """Bring everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file, committed or not."""
        # A full disk fails the flush of close() as well; the first error is the one to report.
        with contextlib.suppress(OSError):
            self._file.close()

    def record(self, name: str) -> ShardRecord:
        """The manifest's entry for this shard."""
        return ShardRecord(
            name=name,
            documents=self._documents,
            failed=len(self.failures),
            empty=self._empty,
            impacts=self._impacts,
            size=self._size,
            sha256=self._hash.hexdigest(),
        )


def _is_new(folder: Path) -> bool:
    """Empty, or what a run leaves that was killed before its manifest was in place."""
    known = (folder / ".tmp", folder / ".tmp" / MANIFEST)
    return all(path in known for path in folder.rglob("*"))


def _foreign(folder: Path) -> OutputError:
    return OutputError(f"{folder}: exists and is not an output of lexlip-encode; name a new folder")


#: Settings that need not be equal: what has moved is told by its fingerprint, and fingerprints are no use to a reader.
_NOT_COMPARED = {"model", "source", "source_fingerprint", "source_count"}


def _check_same(folder: Path, before: RunSettings, now: RunSettings) -> None:
    theirs, ours = before.model_dump(exclude=_NOT_COMPARED), now.model_dump(exclude=_NOT_COMPARED)
    changes = [f"{name} was {theirs[name]}, now {ours[name]}" for name in ours if ours[name] != theirs[name]]
    if before.source_fingerprint != now.source_fingerprint:
        changes.insert(0, _source_change(before, now))
    if changes:
        raise OutputError(f"{folder}: holds the output of another run ({'; '.join(changes)}); name a new folder")


def _source_change(before: RunSettings, now: RunSettings) -> str:
    if before.source != now.source:
        return f"source was {before.source}, now {now.source}"
    what = "images (names or sizes)" if now.modality == "image" else "texts"
    return f"the {what} changed since it began: {before.source_count:,} then, {now.source_count:,} now"


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """A full disk or a missing permission, said in one line."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        place = error.filename or folder
        raise OutputError(f"{place}: cannot be written ({error.strerror or error})") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
