"""Deleting documents, getting rid of what is deleted, and reading a whole index to see that it is sound."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.search.exact.engine import ExactEngine
from lexlip_infer.search.exact.folder import ImpactIndexFolder
from lexlip_infer.search.exact.manifest import IndexManifest, SegmentRecord, damaged, record_file, unreadable
from lexlip_infer.search.exact.merging import merge_segments
from lexlip_infer.search.exact.segment import SEGMENTS, Segment, write_deletions


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
        segments = folder.segments()
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
        merged = merge_segments(index, folder.new_name(), folder.segments())
        folder.commit([merged] if merged.documents else [])


def verify(index: Path) -> IndexManifest:
    """Compare every file's hash, and check every invariant of the postings; opening an index does neither.

    Raises:
        OutputError: something is damaged or missing; the message names it.
    """
    engine = ExactEngine.open(index)
    for file in engine.manifest.files:
        try:
            intact = record_file(index, file.name) == file
        except OSError as error:
            raise unreadable(error) from None
        if not intact:
            raise damaged(index / file.name, "its sha256 does not match")
    for segment in engine.segments:
        try:
            segment.impacts.validate()
        except InputError as error:
            raise damaged(index / SEGMENTS / segment.record.name, str(error)) from None
    return engine.manifest


def _find(segments: list[Segment], name: str) -> tuple[int, int]:
    encoded = name.encode("utf-8", "surrogatepass")
    for number, segment in enumerate(segments):
        row = segment.find(encoded)
        if row is not None:
            return number, row
    raise InputError(f"document id {name!r} is not in the index; nothing was deleted")


def _with_deleted(folder: ImpactIndexFolder, segment: Segment, gone: list[int]) -> SegmentRecord:
    rows = np.union1d(segment.deleted, np.array(gone, np.int32)).astype(np.int32)
    return write_deletions(folder.path, segment.record, folder.manifest.generation + 1, rows)
