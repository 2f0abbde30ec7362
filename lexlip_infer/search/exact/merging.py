"""Several segments become one, in memory that grows with the number of documents and not with the postings.

Ids are merged in one pass over all tables. Then the new chunks are written one after the other, a few million postings
at a time. The documents of a new chunk are a contiguous range of rows in every segment, and within a term they keep
their order, so that the stable sort (a merge of ascending runs) has little to do.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from lexlip_infer.files import Folder, sync_file
from lexlip_infer.search.exact.manifest import SegmentRecord, record_file
from lexlip_infer.search.exact.segment import Segment, new_segment, npy_header, pack_ids, write_array
from lexlip_kernels.impact_dot import CHUNK_DOCS, ImpactIndex
from lexlip_kernels.impact_matrix import row_offsets

#: Postings in memory; a term that has more by itself is taken whole.
_POSTINGS = 1 << 22

#: For each segment, the new row of every old one, -1 for deleted ones.
Rows = list[npt.NDArray[np.int32]]


def merge_segments(index: Folder, name: str, segments: Sequence[Segment]) -> SegmentRecord:
    """Write what is not deleted in the segments as a new one.

    Args:
        index: folder of the index.
        name: of the new segment.
        segments: over the same vocabulary.

    Raises:
        InputError: an id occurs twice.
    """
    folder = new_segment(index, name)
    names, rows = _merge_ids(segments)
    id_offsets, id_text = pack_ids(names)
    live = [_count_live(segment) for segment in segments]
    total, dtype = sum(count for count, _ in live), np.uint8 if max(most for _, most in live) <= 255 else np.uint16
    lengths, maxima = _merge_postings(index, folder, segments, rows, total, dtype)
    files = (
        write_array(index, f"{folder}term_offsets.npy", row_offsets(lengths)),
        record_file(index, f"{folder}posting_docs.npy"),
        record_file(index, f"{folder}posting_impacts.npy"),
        write_array(index, f"{folder}term_max_impacts.npy", maxima),
        write_array(index, f"{folder}id_offsets.npy", id_offsets),
        write_array(index, f"{folder}id_text.npy", id_text),
    )
    bits: Literal[8, 16] = 8 if dtype == np.uint8 else 16
    return SegmentRecord(name=name, documents=len(names), postings=total, impact_bits=bits, files=files)


def _merge_ids(segments: Sequence[Segment]) -> tuple[list[bytes], Rows]:
    rows = [np.full(segment.record.documents, -1, np.int32) for segment in segments]
    names = []
    for new, (name, number, old) in enumerate(ids_in_order(segments)):
        rows[number][old] = new
        names.append(name)
    return names, rows


def ids_in_order(segments: Sequence[Segment]) -> Iterator[tuple[bytes, int, int]]:
    """Ascending ids of all documents that are not deleted, with the number of their segment and their row in it."""
    return heapq.merge(*(_live_ids(number, segment) for number, segment in enumerate(segments)))


def _live_ids(number: int, segment: Segment) -> Iterator[tuple[bytes, int, int]]:
    live = segment.live()
    return ((name, number, row) for row, name in enumerate(segment.ids) if live[row])


def _count_live(segment: Segment) -> tuple[int, int]:
    """Postings of documents that are not deleted, and the largest of their impacts."""
    index = segment.impacts
    if not len(segment.deleted):
        return len(index.posting_docs), int(index.term_max_impacts.max(initial=0))
    live, count, largest = segment.live(), 0, 0
    for chunk in range(index.num_chunks):
        bounds = index.term_offsets[[chunk * index.vocab_size, (chunk + 1) * index.vocab_size]]
        for at in range(bounds[0], bounds[1], _POSTINGS):
            held = slice(at, min(at + _POSTINGS, bounds[1]))
            kept = index.posting_impacts[held][live[chunk * CHUNK_DOCS :][index.posting_docs[held]]]
            count, largest = count + len(kept), max(largest, int(kept.max(initial=0)))
    return count, largest


def _merge_postings(
    index: Folder, folder: str, segments: Sequence[Segment], rows: Rows, total: int, dtype: npt.DTypeLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
    """Write the two large arrays; number of postings of each term and chunk, largest impact of each term."""
    vocab_size = segments[0].impacts.vocab_size
    lengths, maxima = [np.zeros(0, np.int64)], np.zeros(vocab_size, np.uint16)
    with (
        _npy(index, f"{folder}posting_docs.npy", np.uint16, total) as docs_file,
        _npy(index, f"{folder}posting_impacts.npy", dtype, total) as impacts_file,
    ):
        for start in range(0, sum(int((new >= 0).sum()) for new in rows), CHUNK_DOCS):
            sources = list(_sources(segments, rows, start))
            for first, last in _term_ranges(sources, vocab_size):
                terms, docs, impacts = _merged(sources, first, last)
                docs_file.write(docs.data)
                impacts_file.write(impacts.astype(dtype).data)
                lengths.append(np.bincount(terms, minlength=last - first))
                np.maximum.at(maxima[first:last], terms, impacts)
    return np.concatenate(lengths), maxima


@dataclass(frozen=True, slots=True)
class _Source:
    """A chunk of a segment that has documents for a chunk of the new one.

    Attributes:
        index: of the segment.
        offsets: (V+1,), of the chunk's terms.
        new_docs: (documents of the chunk,) int32, their numbers in the new chunk, -1 where they are not in it.
    """

    index: ImpactIndex
    offsets: npt.NDArray[np.int64]
    new_docs: npt.NDArray[np.int32]


def _sources(segments: Sequence[Segment], rows: Rows, start: int) -> Iterator[_Source]:
    """What the chunk of the new rows from `start` is made of."""
    for segment, new_rows in zip(segments, rows, strict=True):
        vocab_size = segment.impacts.vocab_size
        for chunk in range(segment.impacts.num_chunks):
            new = new_rows[chunk * CHUNK_DOCS : (chunk + 1) * CHUNK_DOCS]
            wanted = (new >= start) & (new < start + CHUNK_DOCS)
            if wanted.any():
                offsets = segment.impacts.term_offsets[chunk * vocab_size : (chunk + 1) * vocab_size + 1]
                yield _Source(segment.impacts, offsets, np.where(wanted, new - start, -1).astype(np.int32))


def _term_ranges(sources: Sequence[_Source], vocab_size: int) -> Iterator[tuple[int, int]]:
    ends = np.sum([source.offsets for source in sources], axis=0)
    first = 0
    while first < vocab_size:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + _POSTINGS, "right")) - 1)
        yield first, last
        first = last


def _merged(
    sources: Sequence[_Source], first: int, last: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Terms (counted from `first`), numbers in the new chunk and impacts of a range of terms, in this order."""
    keys, impacts = [], []
    for source in sources:
        offsets = source.offsets[first : last + 1]
        terms = np.repeat(np.arange(last - first, dtype=np.int64), np.diff(offsets))
        new = source.new_docs[source.index.posting_docs[offsets[0] : offsets[-1]]]
        wanted = new >= 0
        keys.append((terms[wanted] << 16) | new[wanted])
        impacts.append(source.index.posting_impacts[offsets[0] : offsets[-1]][wanted].astype(np.uint16))
    key = np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    key = key[order]
    return key >> 16, (key & 0xFFFF).astype(np.uint16), np.concatenate(impacts)[order]


@contextlib.contextmanager
def _npy(index: Folder, name: str, dtype: npt.DTypeLike, length: int) -> Iterator[BinaryIO]:
    """A `.npy` file whose contents come piece by piece."""
    with index.new(name) as file:
        file.write(npy_header(dtype, length))
        yield file
        sync_file(file)
