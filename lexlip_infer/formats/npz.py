"""One scipy CSR matrix of all documents, with their ids and the vocabulary inside the same .npz.

`scipy.sparse.load_npz(path)` gives the (N, V) matrix of int32; `np.load(path)["ids.json"]` and `["vocabulary.json"]`
are JSON lists. (A numpy array of strings would cut an id's trailing NULs and take four bytes a character.)
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lexlip_infer.formats.limits import check_chunk, check_vocabulary, encode
from lexlip_infer.formats.spool import Spool
from lexlip_infer.formats.text import quote

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["NpzWriter"]


class NpzWriter:
    """Puts the members aside and zips them at the end; memory is 8 bytes a document."""

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        check_vocabulary(vocabulary.terms)
        self._vocabulary = vocabulary
        self._ids, self._indices, self._impacts = (Spool(settings.scratch) for _ in range(3))
        self._lengths: list[npt.NDArray[np.int64]] = []

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """Nothing is ready before the end."""
        check_chunk(ids, impacts, len(self._vocabulary))
        if ids:
            before = ",\n" if self._ids.size else ""
            self._ids.write(encode(before + ",\n".join(map(quote, ids)), ids))
        self._lengths.append(impacts.lengths)
        self._indices.write(impacts.indices.tobytes())
        self._impacts.write(impacts.impacts.tobytes())
        return b""

    def finish(self) -> Iterator[bytes]:
        """The archive."""
        sink = _Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, pieces in self._members():
                # The default date, so that the same documents give the same bytes.
                with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                    for piece in pieces:
                        member.write(piece)
                        yield sink.take()
        yield sink.take()

    def _members(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        indptr = np.concatenate([np.zeros(1, np.int64), *self._lengths]).cumsum()
        # scipy wants one integer type for both index arrays, the short one where it fits.
        if indptr[-1] < 2**31:
            indptr = indptr.astype(np.int32)
        shape = np.array([len(indptr) - 1, len(self._vocabulary)], np.int64)
        yield "format.npy", [_array(np.array(b"csr"))]
        yield "shape.npy", [_array(shape)]
        yield "indptr.npy", [_array(indptr)]
        for name, spool in (("indices", self._indices), ("data", self._impacts)):
            yield f"{name}.npy", _int32_array(spool)
        yield "ids.json", _between(b"[\n", self._ids.pieces(), b"\n]\n")
        yield "vocabulary.json", [json.dumps(self._vocabulary.terms, ensure_ascii=False).encode()]


class _Sink(io.RawIOBase):
    """Takes what zipfile writes, for a caller who wants bytes and no file."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces = []
        return data


def _array(array: npt.NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _int32_array(spool: Spool) -> Iterator[bytes]:
    header = io.BytesIO()
    description = {"descr": "<i4", "fortran_order": False, "shape": (spool.size // 4,)}
    np.lib.format.write_array_header_1_0(header, description)
    return _between(header.getvalue(), spool.pieces(), b"")


def _between(before: bytes, pieces: Iterable[bytes], after: bytes) -> Iterator[bytes]:
    yield before
    yield from pieces
    yield after
