"""Everything that changes an index: documents come, go, and are merged; and the reading that tells whether it is sound.

They become segments in bounded memory: runs are written out as they fill up, and merged at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from lexlip_infer.collection.collection import Collection
from lexlip_infer.collection.manifest import EncodedWith, differences, is_output
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.search.exact.engine import ExactEngine
from lexlip_infer.search.exact.folder import ImpactIndexFolder
from lexlip_infer.search.exact.manifest import (
    SEGMENTS,
    IndexManifest,
    SegmentRecord,
    damaged,
    opened,
    record_file,
    unreadable,
)
from lexlip_infer.search.exact.merging import ids_in_order, merge_segments
from lexlip_infer.search.exact.segment import Segment, duplicate, pack_ids, write_arrays, write_deletions
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

BUFFERED_POSTINGS = 24_000_000
"""Impacts in memory before a run is written; a run takes about 32 bytes of memory per impact at its peak."""


class _Runs:
    """Collects documents for one segment of a folder.

    Args:
        folder: opened for a change.
        buffered: impacts in memory before a run is written.
    """

    def __init__(self, folder: ImpactIndexFolder, buffered: int) -> None:
        self._folder, self._buffered = folder, buffered
        self._ids: list[bytes] = []
        self._parts: list[ImpactMatrix] = []
        self._written: list[SegmentRecord] = []

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        vocab_size = self._folder.manifest.vocab_size
        if len(ids) != len(impacts) or impacts.vocab_size != vocab_size:
            raise InputError(
                f"{len(ids)} ids and {len(impacts)} rows over {impacts.vocab_size} terms; expected as many ids as "
                f"rows, over the {vocab_size} terms of the index"
            )
        self._ids += map(_utf8, ids)
        self._parts.append(impacts)
        if sum(len(part.indices) for part in self._parts) >= self._buffered:
            self._flush()

    def finish(self) -> SegmentRecord | None:
        """The segment that holds them all; nothing where there are none."""
        self._flush()
        if len(self._written) < 2:
            return self._written[0] if self._written else None
        folder = self._folder
        return merge_segments(folder.held, folder.new_name(), [folder.open_new(record) for record in self._written])

    def _flush(self) -> None:
        if not self._ids:
            return
        order = np.array(sorted(range(len(self._ids)), key=self._ids.__getitem__))
        ids = pack_ids([self._ids[row] for row in order.tolist()])
        parts, self._ids, self._parts = self._parts, [], []
        index = ImpactIndex.build(ImpactMatrix.concatenate(parts)[order])
        self._written.append(write_arrays(self._folder.held, self._folder.new_name(), index, ids))


class IndexWriter:
    """Writes a new index from memory, batch by batch; it exists when `commit` has returned, and not before.

    Use it as a context manager, or call `close` where there is no commit.

    Args:
        folder: missing or empty.
        vocab_size: V.
        terms: V terms by id; without them each is named by its number.
        encoded_with: what queries have to be encoded with, if known.
        buffered: impacts in memory before they are written out.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        vocab_size: int,
        terms: Sequence[str] | None = None,
        encoded_with: EncodedWith | None = None,
        buffered: int = BUFFERED_POSTINGS,
    ) -> None:
        names = list(map(str, range(vocab_size))) if terms is None else terms
        if len(names) != vocab_size:
            raise InputError(f"{len(names)} terms for a vocabulary of {vocab_size}; expected one each")
        self._stack = contextlib.ExitStack()
        self._folder = self._stack.enter_context(ImpactIndexFolder.create(folder, names, encoded_with))
        self._runs = _Runs(self._folder, buffered)

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        """Take the next documents, in any order of their ids.

        Raises:
            InputError: ids and rows do not fit together, an id is not valid Unicode or occurs twice, or an impact
                exceeds 65,535.
        """
        self._runs.add(ids, impacts)

    def commit(self) -> None:
        """Finish the index and let go of the folder.

        Raises:
            InputError: an id occurs twice.
        """
        with self._stack:
            segment = self._runs.finish()
            self._folder.commit([] if segment is None else [segment])

    def close(self) -> None:
        """Let go of the folder; without a commit nothing remains of it."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def build_exact_index(source: Path, index: Path, threads: int = 1, model: str | None = None) -> int:
    """Build a new index.

    Args:
        source: an output of lexlip-encode, or any folder or file of Anserini's JSON lines.
        index: folder, missing or empty.
        threads: that read and parse part files; each holds one part file in memory.
        model: bundle the source was encoded with, where it has moved.

    Raises:
        InputError: the source is malformed, incomplete, or holds no document, or an id occurs twice.
        OutputError: a part file has changed since it was written, or the index exists or cannot be written.

    Returns:
        Number of documents.
    """
    documents = _open(source, model)
    with ImpactIndexFolder.create(index, documents.vocabulary.terms, _encoded_with(documents)) as folder:
        segment = _add_all(folder, documents.parts(threads))
        if segment is None:
            raise InputError(f"{source}: no documents to index")
        folder.commit([segment])
        return segment.documents


def append(source: Path, index: Path, threads: int = 1, replace: bool = False, model: str | None = None) -> int:
    """Add documents as a new segment. Whoever has the index open goes on searching the state without them.

    Args:
        source: encoded with the same model.
        index: an index.
        threads: as in `build_exact_index`.
        replace: documents of the same id, instead of refusing them.
        model: as in `build_exact_index`.

    Raises:
        InputError: as `build_exact_index`; or the source was encoded otherwise, or the index has one of its ids.
        OutputError: the index is damaged, is being changed by another process, or cannot be written.

    Returns:
        Number of documents that were added.
    """
    with ImpactIndexFolder.change(index) as folder:
        known = folder.vocabulary
        theirs = folder.manifest.encoded_with
        documents = _open(source, model, None if theirs else known)
        ours = _encoded_with(documents)
        if ours is not None and theirs is not None:
            _check_same(source, ours, theirs)
        if documents.vocabulary.terms != known.terms:
            raise InputError(f"{source}: its vocabulary is not that of {index}; encode both with the same model")
        segment = _add_all(folder, documents.parts(threads))
        if segment is None:
            return 0
        folder.commit([*_without(folder, segment, replace), segment])
        return segment.documents


def _add_all(folder: ImpactIndexFolder, batches: Iterable[tuple[list[str], ImpactMatrix]]) -> SegmentRecord | None:
    runs = _Runs(folder, BUFFERED_POSTINGS)
    for ids, impacts in batches:
        runs.add(ids, impacts)
    return runs.finish()


def _open(source: Path, model: str | None, known: Vocabulary | None = None) -> Collection:
    """An output over the vocabulary of its model; JSON lines that others wrote over one that is known, or their own."""
    return Collection.open(source, model=model) if is_output(source) else Collection.open(source, vocabulary=known)


def _encoded_with(documents: Collection) -> EncodedWith | None:
    return None if documents.manifest is None else documents.manifest.settings.encoded_with


def _check_same(source: Path, given: EncodedWith, known: EncodedWith) -> None:
    if changes := differences(known.model_dump(exclude={"model"}), given.model_dump(exclude={"model"}), "here"):
        raise InputError(f"{source} was not encoded as the index ({changes}); encode it with the same settings")


def _without(folder: ImpactIndexFolder, added: SegmentRecord, replace: bool) -> list[SegmentRecord]:
    """The segments of the index, documents deleted that come again."""
    new = folder.open_new(added)
    records = []
    for segment in folder.segments:
        rows = [row for row in map(segment.find, new.ids) if row is not None]
        if rows and not replace:
            name = segment.ids[rows[0]].decode()
            raise InputError(
                f"document id {name!r} is in the index already; pass --replace to put the new one in its place"
            )
        record = segment.record
        if rows:
            deleted = np.union1d(segment.deleted, np.array(rows, np.int32)).astype(np.int32)
            record = write_deletions(folder.held, record, folder.manifest.generation + 1, deleted)
        records.append(record)
    return records


def _utf8(name: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise InputError(f"document id {name!r} is not valid Unicode; rename the document") from None


def delete(index: Path, ids: Iterable[str]) -> int:
    """Mark documents as deleted; searches give at once what an index without them would.

    Args:
        index: an index.
        ids: of documents; one that occurs twice counts once.

    Raises:
        InputError: an id is not in the index; nothing is deleted.
        OutputError: the index is damaged, is being changed by another process, or cannot be written.

    Returns:
        Number of documents.
    """
    with ImpactIndexFolder.change(index) as folder:
        segments = folder.segments
        rows: list[list[int]] = [[] for _ in segments]
        names = sorted(set(ids))
        for name in names:
            number, row = _find(segments, name)
            rows[number].append(row)
        if names:
            folder.commit(
                [
                    _with_deleted(folder, segment, gone) if gone else segment.record
                    for segment, gone in zip(segments, rows, strict=True)
                ]
            )
        return len(names)


def compact(index: Path) -> None:
    """Merge all segments into one without deleted documents; results stay the same.

    Every byte is verified first: new files get new hashes, which would make damage look sound from then on.

    Raises:
        OutputError: the index is damaged, is being changed by another process, or cannot be written.
    """
    with ImpactIndexFolder.change(index) as folder:
        if len(folder.manifest.segments) < 2 and not folder.manifest.deleted:
            return
        verify(index)
        merged = merge_segments(folder.held, folder.new_name(), folder.segments)
        folder.commit([merged] if merged.documents else [])


def verify(index: Path) -> IndexManifest:
    """Compare every file's hash, and check every invariant of postings and ids; opening an index does neither.

    Hashes show damage. The invariants show what somebody has changed who has computed the hashes anew.

    Raises:
        OutputError: something is damaged or missing; the message names it.
    """
    engine = ExactEngine.open(index)
    with opened(index) as folder:
        for file in engine.manifest.files:
            try:
                intact = record_file(folder, file.name) == file
            except OutputError:
                raise
            except OSError as error:
                raise unreadable(error) from None
            if not intact:
                raise damaged(index / file.name, "its sha256 does not match")
    for segment in engine.segments:
        try:
            segment.impacts.validate()
            segment.ids.validate()
        except InputError as error:
            raise damaged(index / SEGMENTS / segment.record.name, str(error)) from None
    for (name, *_), (following, *_) in pairwise(ids_in_order(engine.segments) if len(engine.segments) > 1 else ()):
        if name == following:
            raise damaged(index, str(duplicate(name)))
    return engine.manifest


def _find(segments: Sequence[Segment], name: str) -> tuple[int, int]:
    encoded = name.encode("utf-8", "surrogatepass")
    for number, segment in enumerate(segments):
        row = segment.find(encoded)
        if row is not None:
            return number, row
    raise InputError(f"document id {name!r} is not in the index; nothing was deleted")


def _with_deleted(folder: ImpactIndexFolder, segment: Segment, gone: list[int]) -> SegmentRecord:
    rows = np.union1d(segment.deleted, np.array(gone, np.int32)).astype(np.int32)
    return write_deletions(folder.held, segment.record, folder.manifest.generation + 1, rows)
