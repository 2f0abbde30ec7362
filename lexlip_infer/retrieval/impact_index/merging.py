"""Several segments become one, in memory that grows with the number of documents and not with the postings.

Ids are merged in one pass over all tables; then a few million postings at a time get their new rows. Within a term
the rows of a segment keep their order, so that the stable sort (a merge of ascending runs) has little to do.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lexlip_infer.retrieval.impact_index.id_table import pack_ids
from lexlip_infer.retrieval.impact_index.manifest import SegmentRecord
from lexlip_infer.retrieval.impact_index.segment import SEGMENTS, Segment, npy_header, record_file, write_array

__all__ = ["merge_segments"]

#: Postings in memory; a term that has more by itself is taken whole.
_POSTINGS = 1 << 22

#: For each segment, the new row of every old one, -1 for deleted ones.
Rows = list[npt.NDArray[np.int32]]


def merge_segments(index: Path, name: str, segments: Sequence[Segment]) -> SegmentRecord:
    """Write what is not deleted in the segments as a new one.

    Args:
        index: folder of the index.
        name: of the new segment.
        segments: over the same vocabulary.

    Raises:
        InputError: an id occurs twice.
    """
    folder = f"{SEGMENTS}/{name}"
    (index / folder).mkdir(parents=True)
    names, rows = _merge_ids(segments)
    id_offsets, id_text = pack_ids(names)
    total = sum(_count_live(segment, new) for segment, new in zip(segments, rows, strict=True))
    lengths, maxima = _merge_postings(index / folder, segments, rows, total)
    files = (
        write_array(index, f"{folder}/term_offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)),
        record_file(index, f"{folder}/posting_docs.npy"),
        record_file(index, f"{folder}/posting_impacts.npy"),
        write_array(index, f"{folder}/term_max_impacts.npy", maxima),
        write_array(index, f"{folder}/id_offsets.npy", id_offsets),
        write_array(index, f"{folder}/id_text.npy", id_text),
    )
    return SegmentRecord(name=name, documents=len(names), postings=total, files=files)


def _merge_ids(segments: Sequence[Segment]) -> tuple[list[bytes], Rows]:
    rows = [np.full(segment.record.documents, -1, np.int32) for segment in segments]
    names = []
    tables = [_live_ids(number, segment) for number, segment in enumerate(segments)]
    for new, (name, number, old) in enumerate(heapq.merge(*tables)):
        rows[number][old] = new
        names.append(name)
    return names, rows


def _live_ids(number: int, segment: Segment) -> Iterator[tuple[bytes, int, int]]:
    live = segment.live()
    return ((name, number, row) for row, name in enumerate(segment.ids) if live[row])


def _count_live(segment: Segment, new_rows: npt.NDArray[np.int32]) -> int:
    docs = segment.impacts.posting_docs
    if not len(segment.deleted):
        return len(docs)
    return sum(int((new_rows[docs[at : at + _POSTINGS]] >= 0).sum()) for at in range(0, len(docs), _POSTINGS))


def _merge_postings(
    folder: Path, segments: Sequence[Segment], rows: Rows, total: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
    """Write the two large arrays; number of postings and largest impact of each term, (V,)."""
    lengths, maxima = [np.zeros(0, np.int64)], [np.zeros(0, np.uint16)]
    with (
        _npy(folder / "posting_docs.npy", np.int32, total) as docs_file,
        _npy(folder / "posting_impacts.npy", np.uint16, total) as impacts_file,
    ):
        for first, last in _term_ranges(segments):
            terms, docs, impacts = _merged(segments, rows, first, last)
            docs_file.write(docs.data)
            impacts_file.write(impacts.data)
            lengths.append(np.bincount(terms, minlength=last - first))
            maxima.append(np.zeros(last - first, np.uint16))
            np.maximum.at(maxima[-1], terms, impacts)
    return np.concatenate(lengths), np.concatenate(maxima)


def _term_ranges(segments: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    ends = np.sum([segment.impacts.term_offsets for segment in segments], axis=0)
    first, vocab_size = 0, len(ends) - 1
    while first < vocab_size:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + _POSTINGS, "right")) - 1)
        yield first, last
        first = last


def _merged(
    segments: Sequence[Segment], rows: Rows, first: int, last: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.uint16]]:
    """Terms (counted from `first`), new rows and impacts of a range of terms, in this order."""
    keys, impacts = [], []
    for segment, new_rows in zip(segments, rows, strict=True):
        offsets = segment.impacts.term_offsets[first : last + 1]
        terms = np.repeat(np.arange(last - first, dtype=np.int64), np.diff(offsets))
        new = new_rows[segment.impacts.posting_docs[offsets[0] : offsets[-1]]]
        live = new >= 0
        keys.append((terms[live] << 32) | new[live])
        impacts.append(segment.impacts.posting_impacts[offsets[0] : offsets[-1]][live])
    key = np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    key = key[order]
    return key >> 32, (key & 0xFFFFFFFF).astype(np.int32), np.concatenate(impacts)[order]


@contextlib.contextmanager
def _npy(path: Path, dtype: npt.DTypeLike, length: int) -> Iterator[BinaryIO]:
    """A `.npy` file whose contents come piece by piece."""
    with path.open("wb") as file:
        file.write(npy_header(dtype, length))
        yield file
        file.flush()
        os.fsync(file.fileno())
