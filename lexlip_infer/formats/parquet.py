"""Parquet, one row a document: id, indices, values and, if asked for, the terms themselves.

The schema's metadata say which vocabulary the indices belong to and how the impacts were scaled.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lexlip_infer.errors import require
from lexlip_infer.formats.limits import check_chunk, check_vocabulary, encode
from lexlip_kernels.impact_matrix import ImpactMatrix

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import FormatSettings
    from lexlip_infer.vocabulary import Vocabulary

__all__ = ["ROW_GROUP", "ParquetWriter", "vocabulary_hash"]

#: Documents of a row group; a reader holds one at a time.
ROW_GROUP = 32_768


def vocabulary_hash(terms: Sequence[str]) -> str:
    r"""Sha256 of the terms in order of their ids, each ended by ``\n``, in UTF-8."""
    return hashlib.sha256("".join([f"{term}\n" for term in terms]).encode()).hexdigest()


class ParquetWriter:
    """Holds one row group, and emits it when it is full.

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
        check_chunk(ids, impacts, self._vocab_size)
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
