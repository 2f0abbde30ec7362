"""An index folder opened for a change: one writer at a time, and a change that is there as a whole or not at all.

    IDX/index.json                the manifest, see `manifest.py`; replacing it is what makes a change happen
    IDX/vocabulary.json           terms by id
    IDX/segments/<number>/        arrays, see `segment.py`

Files are never written over: whoever has the index open keeps what it has mapped, in the state it was opened in.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from lexlip_infer.collection.manifest import EncodedWith
from lexlip_infer.errors import OutputError
from lexlip_infer.files import locked, sync_folder, write_synced, write_whole, writing
from lexlip_infer.search.exact.manifest import (
    INDEX_MANIFEST,
    IndexManifest,
    SegmentRecord,
    read_index_manifest,
    read_terms,
    record_file,
    unreadable,
)
from lexlip_infer.search.exact.segment import SEGMENTS, Segment, open_segment
from lexlip_infer.vocabulary import Vocabulary

_PARTIAL, _VOCABULARY = f".{INDEX_MANIFEST}.partial", "vocabulary.json"


class ImpactIndexFolder:
    """Build it with `create` or `change`.

    Attributes:
        path: of the folder.
        manifest: the state that a reader sees.
    """

    def __init__(self, path: Path, manifest: IndexManifest) -> None:
        self.path, self.manifest = path, manifest
        self._numbers = manifest.next_segment

    @classmethod
    @contextlib.contextmanager
    def create(
        cls, path: Path, terms: Sequence[str], encoded_with: EncodedWith | None = None
    ) -> Iterator[ImpactIndexFolder]:
        """A new index, which exists once something is committed; until then the folder is removed again.

        Args:
            path: missing, empty, or what a killed build has left.
            terms: V terms by id.
            encoded_with: of the documents, if known.

        Raises:
            OutputError: the folder holds something else, or cannot be written.
        """
        with writing(path):
            if not _is_new(path):
                raise OutputError(f"{path}: exists; name a new folder, or add to an index with --append")
            path.mkdir(parents=True, exist_ok=True)
            with locked(path, f"another lexlip index is writing into {path}"):
                if not _is_new(path):  # another writer has just finished
                    raise OutputError(f"{path}: exists; name a new folder, or add to an index with --append")
                try:
                    _clear(path)
                    write_synced(path / _VOCABULARY, json.dumps(list(terms)).encode())
                    manifest = IndexManifest(
                        version=version("lexlip-infer"),
                        vocabulary=record_file(path, _VOCABULARY),
                        vocab_size=len(terms),
                        encoded_with=encoded_with,
                    )
                    yield cls(path, manifest)
                finally:
                    if not (path / INDEX_MANIFEST).exists():
                        _clear(path)
                        with contextlib.suppress(OSError):  # not empty: somebody else has put something there
                            path.rmdir()

    @classmethod
    @contextlib.contextmanager
    def change(cls, path: Path) -> Iterator[ImpactIndexFolder]:
        """An existing index; what killed writers have left is removed.

        Raises:
            OutputError: there is no index, it is damaged, another process is changing it, or it cannot be written.
        """
        read_index_manifest(path)  # one line about a missing folder, before it is opened
        with writing(path), locked(path, f"another lexlip index is writing into {path}"):
            folder = cls(path, read_index_manifest(path))
            folder._remove_unlisted()
            try:
                yield folder
            finally:
                folder._remove_unlisted()

    def new_name(self) -> str:
        """Of a segment; each is given once."""
        name = f"{self._numbers:06d}"
        self._numbers += 1
        return name

    def vocabulary(self) -> Vocabulary:
        """Of the index.

        Raises:
            OutputError: its file is missing or damaged.
        """
        with _reading():
            return read_terms(self.path, self.manifest)

    def segments(self) -> list[Segment]:
        """Of the manifest, mapped.

        Raises:
            OutputError: a file is missing or damaged.
        """
        with _reading():
            return [open_segment(self.path, record) for record in self.manifest.segments]

    def commit(self, segments: Sequence[SegmentRecord]) -> None:
        """Make these the segments of the index, and remove what is none of it."""
        changes = {
            "segments": tuple(segments),
            "generation": self.manifest.generation + 1,
            "next_segment": self._numbers,
            "version": version("lexlip-infer"),
        }
        manifest = self.manifest.model_copy(update=changes).sealed()
        for folder in {(self.path / file.name).parent for file in manifest.files}:
            sync_folder(folder)
        if (self.path / SEGMENTS).exists():
            sync_folder(self.path / SEGMENTS)
        write_whole(self.path / INDEX_MANIFEST, manifest.model_dump_json(indent=1).encode() + b"\n")
        self.manifest = manifest
        self._remove_unlisted()

    def _remove_unlisted(self) -> None:
        listed = {self.path / file.name for file in self.manifest.files}
        (self.path / _PARTIAL).unlink(missing_ok=True)
        for segment in sorted((self.path / SEGMENTS).glob("*")):
            if not any(file.parent == segment for file in listed):
                shutil.rmtree(segment)
                continue
            for file in segment.iterdir():
                if file not in listed:
                    file.unlink()


def _is_new(path: Path) -> bool:
    """Missing, empty, or what a build leaves that was killed."""
    if not path.exists():
        return True
    return path.is_dir() and {entry.name for entry in path.iterdir()} <= {SEGMENTS, _VOCABULARY, _PARTIAL}


def _clear(path: Path) -> None:
    shutil.rmtree(path / SEGMENTS, ignore_errors=True)
    (path / _VOCABULARY).unlink(missing_ok=True)
    (path / _PARTIAL).unlink(missing_ok=True)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise unreadable(error) from None
