"""One segment: the arrays of an `ImpactIndex` and of an `IdTable`, a `.npy` file each.

NumPy's own format says dtype and shape, can be mapped, and is read by everyone. Ids are mapped and not loaded: UTF-8
end to end, and where each begins. They ascend by code point, which in UTF-8 is the order of the bytes, so that they are
found by bisection.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError
from lexlip_infer.files import Folder, open_regular, sync_file
from lexlip_infer.search.exact.manifest import (
    ARRAYS,
    INDEX_MANIFEST,
    SEGMENTS,
    FileRecord,
    SegmentRecord,
    damaged,
    record_file,
    refused,
)
from lexlip_kernels.impact_dot import ImpactIndex
from lexlip_kernels.impact_matrix import ascends

#: Of ARRAYS; of `posting_impacts` or uint8: `SegmentRecord.impact_bits`.
_DTYPES = dict(zip(ARRAYS, (np.int64, np.uint16, np.uint16, np.uint16, np.int64, np.uint8), strict=True))

#: Ids that an iteration reads at a time.
_BLOCK = 1 << 16


class IdTable(Sequence[bytes]):
    """N ids in UTF-8.

    Args:
        offsets: (N+1,) int64, id i is `text[offsets[i]:offsets[i+1]]`.
        text: uint8.
    """

    def __init__(self, offsets: npt.NDArray[np.int64], text: npt.NDArray[np.uint8]) -> None:
        self._offsets, self._text = offsets, text

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, row: int) -> bytes: ...
    @overload
    def __getitem__(self, row: slice) -> list[bytes]: ...
    def __getitem__(self, row: int | slice) -> bytes | list[bytes]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        return self._text[self._offsets[row] : self._offsets[row + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        for first in range(0, len(self), _BLOCK):
            bounds = self._offsets[first : first + _BLOCK + 1]
            text = self._text[bounds[0] : bounds[-1]].tobytes()
            starts = (bounds - bounds[0]).tolist()
            yield from (text[start:end] for start, end in pairwise(starts))

    def validate(self) -> None:
        """Check all ids.

        Raises:
            InputError: one is not valid UTF-8, or they do not ascend.
        """
        if not ascends(self._offsets):
            raise InputError("the offsets of ids decrease")
        previous = None
        for name in self:
            if previous is not None and name <= previous:
                raise InputError(f"document id {name!r} does not follow {previous!r}; ids ascend, each once")
            try:
                name.decode()
            except UnicodeDecodeError:
                raise InputError(f"document id {name!r} is not UTF-8") from None
            previous = name

    def find(self, name: bytes) -> int | None:
        """The row of an id."""
        row = bisect_left(self, name)
        return row if row < len(self) and self[row] == name else None


def pack_ids(names: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """The arrays of an `IdTable`, of ids in ascending order.

    Raises:
        InputError: an id occurs twice.
    """
    for name, following in pairwise(names):
        if name == following:
            raise duplicate(name)
    offsets = np.zeros(len(names) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, names), np.int64, len(names)), out=offsets[1:])
    return offsets, np.frombuffer(b"".join(names), np.uint8)


def duplicate(name: bytes) -> InputError:
    """The error for an id that occurs twice."""
    return InputError(f"document id {name.decode()!r} occurs twice; every document needs an id of its own")


@dataclass(frozen=True, slots=True)
class Segment:
    """An opened segment; what it has mapped stays readable when its files are removed.

    Attributes:
        record: its entry in the manifest.
        impacts: postings, rows in the order of the ids.
        ids: of the rows.
        deleted: rows, ascending.
    """

    record: SegmentRecord
    impacts: ImpactIndex
    ids: IdTable
    deleted: npt.NDArray[np.int32]

    def live(self) -> npt.NDArray[np.bool_]:
        """(N,), whether a row can be found."""
        mask = np.ones(self.record.documents, np.bool_)
        mask[self.deleted] = False
        return mask

    def find(self, name: bytes) -> int | None:
        """The row of an id that is not deleted."""
        row = self.ids.find(name)
        if row is None:
            return None
        at = int(np.searchsorted(self.deleted, row))
        return None if at < len(self.deleted) and self.deleted[at] == row else row


def open_segment(index: Folder, record: SegmentRecord, vocab_size: int) -> Segment:
    """Map a segment; compares the sizes of its files, and what keeps every access in bounds.

    Raises:
        FileNotFoundError: a file is missing.
        OutputError: a file is a link, truncated or damaged.
    """
    path = index.path / SEGMENTS / record.name
    dtypes = _DTYPES | {"posting_impacts": np.dtype(f"uint{record.impact_bits}")}
    arrays = {name: _map(index, file, dtypes[name]) for file in record.files if (name := PurePath(file.name).stem)}
    deleted = np.zeros(0, np.int32) if record.deletions is None else _map(index, record.deletions, np.int32)
    try:
        term_offsets, docs, impacts, maxima, id_offsets, text = (arrays[name] for name in ARRAYS)
        postings = ImpactIndex(term_offsets, docs, impacts, maxima, record.documents)
    except InputError as error:
        raise damaged(path, str(error)) from None
    if (len(docs), len(maxima)) != (record.postings, vocab_size):
        raise damaged(path, f"{len(docs)} postings over {len(maxima)} terms; {INDEX_MANIFEST} counts others")
    if not _ids_agree(record, id_offsets, text):
        raise damaged(path, "ids and documents disagree")
    if not _deletions_agree(record, deleted):
        raise damaged(path, "the list of deleted rows is none")
    return Segment(record, postings, IdTable(id_offsets, text), deleted)


def _ids_agree(record: SegmentRecord, offsets: npt.NDArray[Any], text: npt.NDArray[Any]) -> bool:
    return len(offsets) == record.documents + 1 and bool(offsets[0] == 0 and offsets[-1] == len(text))


def _deletions_agree(record: SegmentRecord, rows: npt.NDArray[Any]) -> bool:
    if len(rows) != record.deleted:
        return False
    return not len(rows) or bool(rows[0] >= 0 and rows[-1] < record.documents and ascends(rows, strictly=True))


def _map(index: Folder, file: FileRecord, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    path, itemsize = index.path / file.name, np.dtype(dtype).itemsize
    length = (file.size - len(npy_header(dtype, 0))) // itemsize
    header = npy_header(dtype, length)
    with open_regular(file.name, refuse=lambda reason: refused(path, reason), folder=index) as opened:
        size = os.fstat(opened.fileno()).st_size
        if size != file.size:
            raise damaged(path, f"{size:,} bytes; it was written with {file.size:,}")
        # Compared and not parsed: what numpy makes of a damaged header is anything at all.
        if opened.read(len(header)) != header or size != len(header) + length * itemsize:
            raise damaged(path, "its header is not as it was written")
        # A plain array over the map: slices of a memmap are slow to make.
        return np.asarray(np.memmap(opened, dtype, "r", len(header), (length,)))


def npy_header(dtype: npt.DTypeLike, length: int) -> bytes:
    """What stands before the contents of an array of rank 1."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (length,)}
    )
    return buffer.getvalue()


def new_segment(index: Folder, name: str) -> str:
    """Make the folder of a segment; what its files' names in the index begin with."""
    for folder in (SEGMENTS, f"{SEGMENTS}/{name}"):
        index.folder(folder, create=True).close()
    return f"{SEGMENTS}/{name}/"


def write_arrays(index: Folder, name: str, impacts: ImpactIndex, ids: tuple[npt.NDArray[Any], ...]) -> SegmentRecord:
    """Write a new segment; it belongs to the index when a manifest lists it.

    Args:
        index: folder of the index.
        name: of the segment.
        impacts: rows in the order of the ids.
        ids: of `pack_ids`.
    """
    arrays: Mapping[str, npt.NDArray[Any]] = {
        "term_offsets": impacts.term_offsets,
        "posting_docs": impacts.posting_docs,
        "posting_impacts": impacts.posting_impacts,
        "term_max_impacts": impacts.term_max_impacts,
        "id_offsets": ids[0],
        "id_text": ids[1],
    }
    folder = new_segment(index, name)
    files = tuple(write_array(index, f"{folder}{array}.npy", arrays[array]) for array in ARRAYS)
    return SegmentRecord(
        name=name,
        documents=len(impacts),
        postings=len(impacts.posting_docs),
        impact_bits=8 if impacts.posting_impacts.dtype == np.uint8 else 16,
        files=files,
    )


def write_deletions(
    index: Folder, record: SegmentRecord, generation: int, rows: npt.NDArray[np.int32]
) -> SegmentRecord:
    """List all deleted rows of a segment in a new file, whose name no other state of the index uses."""
    file = write_array(index, f"{SEGMENTS}/{record.name}/deleted-{generation:06d}.npy", rows)
    return record.model_copy(update={"deleted": len(rows), "deletions": file})


def write_array(index: Folder, name: str, array: npt.NDArray[Any]) -> FileRecord:
    """Write one array and sync it."""
    with index.new(name) as file:
        np.save(file, array, allow_pickle=False)
        sync_file(file)
    return record_file(index, name)
