"""An index folder opened for a change: one writer at a time, and a change that is there as a whole or not at all.

    IDX/index.json                the manifest, see `manifest.py`; replacing it is what makes a change happen
    IDX/vocabulary.json           terms by id
    IDX/segments/<number>/        arrays, see `segment.py`

Files are never written over: whoever has the index open keeps what it has mapped, in the state it was opened in.
Nothing is removed before the folder has turned out to be an index, whole, and then only what has a name of ours.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from lexlip_infer.collection.manifest import EncodedWith
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.files import Folder, write_synced, write_whole, writing
from lexlip_infer.search.exact.manifest import (
    ARRAY_NAME,
    INDEX_MANIFEST,
    MANIFEST_LIMIT,
    SEGMENT_NAME,
    SEGMENTS,
    VOCABULARY,
    VOCABULARY_LIMIT,
    IndexManifest,
    SegmentRecord,
    checked_vocabulary,
    opened,
    read_index_manifest,
    read_terms,
    record_file,
    unreadable,
)
from lexlip_infer.search.exact.segment import Segment, open_segment
from lexlip_infer.vocabulary import Vocabulary

_PARTIAL = f".{INDEX_MANIFEST}.partial"


class ImpactIndexFolder:
    """Build it with `create` or `change`.

    Attributes:
        held: the folder, locked.
        manifest: the state that a reader sees.
        vocabulary: of the index.
        segments: of the manifest when the folder was opened, mapped.
    """

    def __init__(
        self, held: Folder, manifest: IndexManifest, vocabulary: Vocabulary, segments: Sequence[Segment] = ()
    ) -> None:
        self.held, self.manifest = held, manifest
        self.vocabulary, self.segments = vocabulary, segments
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
            InputError: the terms are not distinct strings of valid Unicode, or take more than VOCABULARY_LIMIT.
            OutputError: the folder holds something else, or cannot be written.
        """
        vocabulary, data = _checked(terms)
        with writing(path):
            if path.exists() and not path.is_dir():
                raise _exists(path)
            with Folder.open(path, create=True) as held:
                if not _is_new(held):
                    raise _exists(path)
                held.lock(f"another lexlip index is writing into {path}")
                if not _is_new(held):  # another writer has just finished
                    raise _exists(path)
                try:
                    _remove_all_but(held, set())
                    held.folder(SEGMENTS, create=True).close()
                    write_synced(VOCABULARY, data, held)
                    manifest = IndexManifest(
                        version=version("lexlip-infer"),
                        vocabulary=record_file(held, VOCABULARY),
                        vocab_size=len(terms),
                        encoded_with=encoded_with,
                    )
                    yield cls(held, manifest, vocabulary)
                finally:
                    if held.status(INDEX_MANIFEST) is None:
                        _remove_all_but(held, set())
                        with contextlib.suppress(OSError):  # not empty: somebody else has put something there
                            path.rmdir()

    @classmethod
    @contextlib.contextmanager
    def change(cls, path: Path) -> Iterator[ImpactIndexFolder]:
        """An existing index; what killed writers have left is removed.

        Raises:
            OutputError: there is no index, it is damaged, another process is changing it, or it cannot be written.
        """
        with opened(path) as held:
            read_index_manifest(held)  # one line about what is no index, before it is locked
            with writing(path):
                held.lock(f"another lexlip index is writing into {path}")
                folder = cls(held, *_read(held))
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

    def open_new(self, record: SegmentRecord) -> Segment:
        """Map a segment that was just written."""
        return open_segment(self.held, record, self.manifest.vocab_size)

    def commit(self, segments: Sequence[SegmentRecord]) -> None:
        """Make these the segments of the index, and remove what is none of it.

        Raises:
            OutputError: they are too many for a manifest.
        """
        changes = {
            "segments": tuple(segments),
            "generation": self.manifest.generation + 1,
            "next_segment": self._numbers,
            "version": version("lexlip-infer"),
        }
        manifest = self.manifest.model_copy(update=changes).sealed()
        data = manifest.model_dump_json(indent=1).encode() + b"\n"
        if len(data) > MANIFEST_LIMIT:
            raise OutputError(
                f"{self.held.path}: {len(segments):,} segments, whose list exceeds the {MANIFEST_LIMIT:,} bytes that "
                "are read; merge them with --compact"
            )
        for segment in segments:
            with self.held.folder(f"{SEGMENTS}/{segment.name}") as folder:
                folder.sync()
        if self.held.status(SEGMENTS) is not None:
            with self.held.folder(SEGMENTS) as folder:
                folder.sync()
        self.held.sync()
        write_whole(INDEX_MANIFEST, data, self.held)
        self.manifest = manifest
        self._remove_unlisted()

    def _remove_unlisted(self) -> None:
        _remove_all_but(self.held, {file.name for file in self.manifest.files})


def _checked(terms: Sequence[str]) -> tuple[Vocabulary, bytes]:
    """The vocabulary, and the contents of its file."""
    try:
        vocabulary = checked_vocabulary(terms)
    except ValueError as error:
        raise InputError(f"the vocabulary cannot be that of an index: {error}") from None
    data = json.dumps(list(terms)).encode()
    if len(data) > VOCABULARY_LIMIT:
        raise InputError(f"the vocabulary takes {len(data):,} bytes; an index holds at most {VOCABULARY_LIMIT:,}")
    return vocabulary, data


def _read(held: Folder) -> tuple[IndexManifest, Vocabulary, list[Segment]]:
    """All of an index that is locked."""
    manifest = read_index_manifest(held)
    try:
        segments = [open_segment(held, record, manifest.vocab_size) for record in manifest.segments]
        return manifest, read_terms(held, manifest), segments
    except OutputError:
        raise
    except OSError as error:
        raise unreadable(error) from None


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path}: exists; name a new folder, or add to an index with --append")


def _is_new(held: Folder) -> bool:
    """Empty, or what a build leaves that was killed: it has made the folder of segments first."""
    names = set(held.names())
    if not names:
        return True
    if not {SEGMENTS} <= names <= {SEGMENTS, VOCABULARY, _PARTIAL}:
        return False
    with held.folder(SEGMENTS) as segments:
        for name in segments.names():
            if not SEGMENT_NAME.fullmatch(name):
                return False
            with segments.folder(name) as segment:
                if not all(map(ARRAY_NAME.fullmatch, segment.names())):
                    return False
    return True


def _remove_all_but(held: Folder, kept: set[str]) -> None:
    """Remove what an index has written save some files; what has another name was put there by somebody else."""
    held.remove(_PARTIAL)
    if held.status(SEGMENTS) is not None:
        with held.folder(SEGMENTS) as segments:
            for name in filter(SEGMENT_NAME.fullmatch, segments.names()):
                with segments.folder(name) as segment:
                    for array in filter(ARRAY_NAME.fullmatch, segment.names()):
                        if f"{SEGMENTS}/{name}/{array}" not in kept:
                            segment.remove(array)
                segments.remove_if_empty(name)
        if not kept:
            held.remove_if_empty(SEGMENTS)
    if VOCABULARY not in kept:
        held.remove(VOCABULARY)
