"""One segment: the arrays of an `ImpactIndex` and of an `IdTable`, a `.npy` file each.

NumPy's own format says dtype and shape, can be mapped, and is read by everyone. Ids are mapped and not loaded: UTF-8
end to end, and where each begins. They ascend by code point, which in UTF-8 is the order of the bytes, so that they are
found by bisection.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError
from lexlip_infer.files import sync_file
from lexlip_infer.search.exact.manifest import FileRecord, SegmentRecord, damaged, record_file
from lexlip_kernels.impact_dot import ImpactIndex

SEGMENTS = "segments"
_DTYPES: dict[str, npt.DTypeLike] = {
    "term_offsets": np.int64,
    "posting_docs": np.uint16,
    "posting_impacts": np.uint16,  # or uint8: `SegmentRecord.impact_bits`
    "term_max_impacts": np.uint16,
    "id_offsets": np.int64,
    "id_text": np.uint8,
}

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


def open_segment(index: Path, record: SegmentRecord) -> Segment:
    """Map a segment; compares the sizes of its files, and what keeps every access in bounds.

    Raises:
        FileNotFoundError: a file is missing.
        OutputError: a file is truncated or damaged.
    """
    dtypes: dict[str, npt.DTypeLike] = _DTYPES | {"posting_impacts": f"uint{record.impact_bits}"}
    named = {Path(file.name).stem: file for file in record.files}
    arrays = {name: _map(index, file, dtypes.get(name, np.int32)) for name, file in named.items()}
    deleted = np.zeros(0, np.int32) if record.deletions is None else _map(index, record.deletions, np.int32)
    try:
        term_offsets, docs, impacts, maxima, id_offsets, text = (arrays[name] for name in _DTYPES)
        postings = ImpactIndex(term_offsets, docs, impacts, maxima, record.documents)
    except (KeyError, InputError) as error:
        raise damaged(index / SEGMENTS / record.name, str(error)) from None
    if not _ids_agree(record, id_offsets, text):
        raise damaged(index / SEGMENTS / record.name, "ids and documents disagree")
    if not _deletions_agree(record, deleted):
        raise damaged(index / SEGMENTS / record.name, "the list of deleted rows is none")
    return Segment(record, postings, IdTable(id_offsets, text), deleted)


def _ids_agree(record: SegmentRecord, offsets: npt.NDArray[Any], text: npt.NDArray[Any]) -> bool:
    return len(offsets) == record.documents + 1 and bool(offsets[0] == 0 and offsets[-1] == len(text))


def _deletions_agree(record: SegmentRecord, rows: npt.NDArray[Any]) -> bool:
    if len(rows) != record.deleted:
        return False
    return not len(rows) or bool(rows[0] >= 0 and rows[-1] < record.documents and (np.diff(rows) > 0).all())


def _map(index: Path, file: FileRecord, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    path = index / file.name
    if path.stat().st_size != file.size:
        raise damaged(path, f"{path.stat().st_size:,} bytes; it was written with {file.size:,}")
    header = npy_header(dtype, 0)
    header = npy_header(dtype, (file.size - len(header)) // np.dtype(dtype).itemsize)
    with path.open("rb") as opened:
        # Compared and not parsed: what numpy makes of a damaged header is anything at all.
        if opened.read(len(header)) != header:
            raise damaged(path, "its header is not as it was written")
        # A plain array over the map: slices of a memmap are slow to make.
        return np.asarray(np.memmap(opened, dtype, "r", len(header)))


def npy_header(dtype: npt.DTypeLike, length: int) -> bytes:
    """What stands before the contents of an array of rank 1."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (length,)}
    )
    return buffer.getvalue()


def write_arrays(index: Path, name: str, impacts: ImpactIndex, ids: tuple[npt.NDArray[Any], ...]) -> SegmentRecord:
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
    (index / SEGMENTS / name).mkdir(parents=True)
    files = tuple(write_array(index, f"{SEGMENTS}/{name}/{array}.npy", arrays[array]) for array in _DTYPES)
    return SegmentRecord(
        name=name,
        documents=len(impacts),
        postings=len(impacts.posting_docs),
        impact_bits=8 if impacts.posting_impacts.dtype == np.uint8 else 16,
        files=files,
    )


def write_deletions(index: Path, record: SegmentRecord, generation: int, rows: npt.NDArray[np.int32]) -> SegmentRecord:
    """List all deleted rows of a segment in a new file, whose name no other state of the index uses."""
    file = write_array(index, f"{SEGMENTS}/{record.name}/deleted-{generation:06d}.npy", rows)
    return record.model_copy(update={"deleted": len(rows), "deletions": file})


def write_array(index: Path, name: str, array: npt.NDArray[Any]) -> FileRecord:
    """Write one array and sync it."""
    with (index / name).open("wb") as file:
        np.save(file, array, allow_pickle=False)
        sync_file(file)
    return record_file(index, name)
