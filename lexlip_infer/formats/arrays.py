"""Formats of arrays, every document's terms and impacts one behind the other: scipy's .npz, and Parquet."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import require
from lexlip_infer.formats.contract import FormatSettings, Spool, quote
from lexlip_infer.formats.limits import check_vocabulary, encode
from lexlip_infer.impacts.terms import check_shapes
from lexlip_kernels.impact_matrix import ImpactMatrix

if TYPE_CHECKING:
    from lexlip_infer.vocabulary import Vocabulary

#: Documents of Parquet's row group; a reader holds one at a time.
ROW_GROUP = 32_768


class NpzWriter:
    """One scipy CSR matrix of all documents, with their ids and the vocabulary inside the same .npz.

    `scipy.sparse.load_npz(path)` gives the (N, V) matrix of int32; `np.load(path)["ids.json"]` and
    `["vocabulary.json"]` are JSON lists. (A numpy array of strings would cut an id's trailing NULs and take four bytes
    a character.) Members are put aside and zipped at the end; memory is 8 bytes a document.
    """

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        check_vocabulary(vocabulary.terms)
        self._vocabulary = vocabulary
        self._ids, self._indices, self._impacts = (Spool(settings.scratch) for _ in range(3))
        self._lengths: list[npt.NDArray[np.int64]] = []

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """Nothing is ready before the end."""
        check_shapes(ids, impacts, len(self._vocabulary))
        impacts.validate()
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


def vocabulary_hash(terms: Sequence[str]) -> str:
    r"""Sha256 of the terms in order of their ids, each ended by ``\n``, in UTF-8."""
    return hashlib.sha256("".join([f"{term}\n" for term in terms]).encode()).hexdigest()


class ParquetWriter:
    """One row a document: id, indices, values and, if asked for, the terms themselves.

    The schema's metadata say which vocabulary the indices belong to and how the impacts were scaled. One row group is
    held, and emitted when it is full.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        pyarrow = require("pyarrow", extra="io")
        parquet = require("pyarrow.parquet", extra="io")
        check_vocabulary(vocabulary.terms)
        self._arrow: Any = pyarrow
        self._terms = pyarrow.array(vocabulary.terms, pyarrow.string()) if settings.tokens else None
        self._vocab_size = len(vocabulary)
        self._schema = _schema(pyarrow, vocabulary, settings)
        self._sink = io.BytesIO()
        self._file = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._waiting: list[tuple[Sequence[str], ImpactMatrix]] = []
        self._documents = 0

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """Row groups that are full; see `FormatWriter.add`."""
        check_shapes(ids, impacts, self._vocab_size)
        impacts.validate()
        encode("".join(ids), ids)
        start = 0
        while self._documents + len(ids) - start >= ROW_GROUP:
            end = start + ROW_GROUP - self._documents
            self._wait(ids[start:end], impacts[start:end])
            self._write_group()
            start = end
        self._wait(ids[start:], impacts[start:])
        return self._take()

    def finish(self) -> Iterator[bytes]:
        """The last row group and the footer."""
        self._write_group()
        self._file.close()
        yield self._take()

    def _wait(self, ids: Sequence[str], impacts: ImpactMatrix) -> None:
        self._waiting.append((ids, impacts))
        self._documents += len(ids)

    def _write_group(self) -> None:
        if not self._documents:
            return
        ids = [name for part, _ in self._waiting for name in part]
        impacts = ImpactMatrix.concatenate([part for _, part in self._waiting])
        self._waiting, self._documents = [], 0
        self._file.write_table(self._table(ids, impacts), row_group_size=ROW_GROUP)

    def _table(self, ids: list[str], matrix: ImpactMatrix) -> Any:
        arrow = self._arrow
        offsets = arrow.array(matrix.indptr.astype(np.int32))
        columns = [arrow.array(ids, arrow.string())]
        terms = arrow.array(matrix.indices)
        values = [terms, arrow.array(matrix.impacts)]
        if self._terms is not None:
            values.append(self._terms.take(terms))
        columns += [arrow.ListArray.from_arrays(offsets, column) for column in values]
        return arrow.Table.from_arrays(columns, schema=self._schema)

    def _take(self) -> bytes:
        # The file counts its own offsets, so that the bytes handed on may go.
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


def _schema(arrow: Any, vocabulary: Vocabulary, settings: FormatSettings) -> Any:
    numbers = arrow.list_(arrow.field("item", arrow.int32()))
    fields = [("id", arrow.string()), ("indices", numbers), ("values", numbers)]
    if settings.tokens:
        fields.append(("tokens", arrow.list_(arrow.field("item", arrow.string()))))
    metadata = {
        "lexlip.vocab_size": str(len(vocabulary)),
        "lexlip.vocabulary_sha256": vocabulary_hash(vocabulary.terms),
    }
    if settings.scale is not None:
        metadata["lexlip.scale"] = repr(settings.scale)
    return arrow.schema([arrow.field(name, kind, nullable=False) for name, kind in fields], metadata=metadata)
