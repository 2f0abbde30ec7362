"""Images or texts of Parquet files, a few rows at a time; needs pyarrow, an extra.

A row's id is the column that was named, else the column "id", else file name and row number.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any, BinaryIO, TypeVar

from lexlip_infer.errors import InputError, require
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.lines import LONGEST, listed
from lexlip_infer.inputs.readers.checked_ids import identifier_of
from lexlip_infer.inputs.readers.parquet_pages import rows_together
from lexlip_infer.inputs.readers.places import MAX_FILE_BYTES, LocalPlace, Place, reason, too_large
from lexlip_infer.inputs.readers.source import Files, Source

Item = TypeVar("Item", bound=ImageItem | TextItem)

PARQUET_SUFFIXES = (".parquet", ".pq")

#: Rows decoded together, of images and of texts.
_IMAGES_AT_ONCE, _TEXTS_AT_ONCE = 16, 1024

#: Row groups whose pages are looked at before the first is read.
_GROUPS = 64


class _Rows(Source[Item]):
    """What both kinds share: files one after the other, a broken one in one line, columns and ids.

    Args:
        files: to read.
        id_column: that holds ids.
        content_column: that holds images or texts; the only one of its kind when absent.
    """

    _what = ""
    _at_once = 1

    def __init__(self, files: Files, id_column: str | None, content_column: str | None) -> None:
        super().__init__(files)
        self._id_column, self._content_column = id_column, content_column

    @cached_property
    def count(self) -> int | None:
        """Number of rows, from the files' footers; None if one cannot be read."""
        total = 0
        try:
            for _, place in self.files:
                with _opened(place) as file:
                    total += file.metadata.num_rows
        except InputError:
            return None
        return total

    def check(self) -> None:
        """Raise an InputError if there is no row, the first file cannot be read, or it does not have the columns."""
        for _, place in self.files:
            with _opened(place) as file:
                self._columns(place, file.schema_arrow)
                if file.metadata.num_rows:
                    return
        raise InputError(f"{self.files}: no {self._what}s")

    def __iter__(self) -> Iterator[Item | BadItem]:
        return self.files.read_each(self._rows_of)

    def _rows_of(self, name: str, place: Place) -> Iterator[Item | BadItem]:
        number = 0
        with _opened(place) as file:
            identifier, content = self._columns(place, file.schema_arrow)
            parts = require("pyarrow", "io").types.is_struct(file.schema_arrow.field(content).type)
            columns = [f"{content}.bytes" if parts else content, *([] if identifier is None else [identifier])]
            for batch in _batches(place, file, columns, self._at_once):
                for row in range(len(batch)):
                    default, origin = f"{name}:{number}", f"{place}:{number}"
                    number += 1
                    try:
                        key = identifier_of(_cell(batch, identifier, row), identifier) if identifier else default
                        item = self._item(key, origin, _cell(batch, content, row))
                    except InputError as error:
                        item = BadItem(default, origin, str(error))
                    yield item

    def _columns(self, place: Place, schema: Any) -> tuple[str | None, str]:
        for name in (self._id_column, self._content_column):
            if name is not None and schema.names.count(name) != 1:
                raise InputError(f"{place}: not one column {name!r}; there are {listed(schema.names)}")
        identifier = self._id_column or ("id" if schema.names.count("id") == 1 else None)
        if identifier is not None and require("pyarrow", "io").types.is_nested(schema.field(identifier).type):
            raise InputError(f"{place}: the column {identifier!r} holds no ids, but values with parts")
        if self._content_column is not None and not self._fits(schema.field(self._content_column).type):
            raise InputError(f"{place}: the column {self._content_column!r} holds no {self._what}s")
        return identifier, self._content_column or self._guess(place, schema, identifier)

    def _guess(self, place: Place, schema: Any, identifier: str | None) -> str:
        fitting = [field.name for field in schema if field.name != identifier and self._fits(field.type)]
        if len(fitting) == 1:
            return str(fitting[0])
        if fitting:
            raise InputError(
                f"{place}: {len(fitting)} columns hold {self._what}s ({listed(fitting)}); "
                f"name one with --{self._what}-column"
            )
        raise InputError(f"{place}: no column holds {self._what}s; there are {listed(schema.names)}")

    @abstractmethod
    def _fits(self, kind: Any) -> bool:
        """Whether a column of this type can hold what is looked for."""

    @abstractmethod
    def _item(self, identifier: str, origin: str, cell: Any) -> Item | BadItem:
        """What a row of that column holds."""


class ParquetImages(_Rows[ImageItem]):
    """Images: a column of bytes, or of {"bytes", "path"} as Hugging Face's datasets have it."""

    _what = "image"
    _at_once = _IMAGES_AT_ONCE

    def _fits(self, kind: Any) -> bool:
        types = require("pyarrow", "io").types
        if types.is_struct(kind):
            return any(
                field.name == "bytes" and not types.is_struct(field.type) and self._fits(field.type) for field in kind
            )
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))

    def _item(self, identifier: str, origin: str, cell: Any) -> ImageItem | BadItem:
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if data is None:
            return BadItem(identifier, origin, "the row has no image bytes")
        if len(data) > MAX_FILE_BYTES:
            return BadItem(identifier, origin, too_large(MAX_FILE_BYTES))
        return ImageItem(identifier, origin, data, len(data))


class ParquetTexts(_Rows[TextItem]):
    """Texts: a column of strings."""

    _what = "text"
    _at_once = _TEXTS_AT_ONCE

    def _fits(self, kind: Any) -> bool:
        types = require("pyarrow", "io").types
        if types.is_dictionary(kind):
            return self._fits(kind.value_type)
        return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))

    def _item(self, identifier: str, origin: str, cell: Any) -> TextItem | BadItem:
        if cell is None:
            return BadItem(identifier, origin, "the row has no text")
        if len(cell) > LONGEST:
            return BadItem(identifier, origin, f"larger than {LONGEST >> 20} MiB, the most that is read of a text")
        return TextItem(identifier, origin, cell)


@contextmanager
def _opened(place: Place) -> Iterator[Any]:
    parquet = require("pyarrow.parquet", "io")
    with place.open() as file:
        try:
            # Buffered, and nothing ahead: a column of images is otherwise read as a whole.
            opened = parquet.ParquetFile(file, buffer_size=2**20, pre_buffer=False, page_checksum_verification=True)
        except Exception as error:  # noqa: BLE001  (Arrow's errors, and any network's)
            raise InputError(f"{place}: not a Parquet file, or damaged ({reason(error)})") from None
        yield opened


def _cell(batch: Any, column: str, row: int) -> Any:
    try:
        return batch.column(column)[row].as_py()
    except UnicodeDecodeError as error:
        raise InputError(f'"{column}" is not UTF-8 ({error.reason} at byte {error.start})') from None


def _batches(place: Place, file: Any, columns: list[str], at_once: int) -> Iterator[Any]:
    """Rows of some columns, fewer together where they are large. Pages behind a URL are taken as they come."""
    with place.open() if isinstance(place, LocalPlace) else nullcontext() as headers:
        try:
            for groups, rows in _runs(file.metadata, headers, columns, at_once):
                yield from file.iter_batches(rows, row_groups=groups, columns=columns, use_threads=False)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        except Exception as error:  # noqa: BLE001  (as above)
            raise InputError(f"{place}: cannot be read further ({reason(error)})") from None


def _runs(metadata: Any, headers: BinaryIO | None, columns: list[str], at_once: int) -> Iterator[tuple[range, int]]:
    """Consecutive row groups, and how many rows of them to read at once; an error comes after all that is before it."""
    first, end, fault = 0, metadata.num_row_groups, None
    for number in range(end if headers is not None else 0):
        assert headers is not None
        try:
            at_once = min(at_once, rows_together(headers, metadata.row_group(number), columns))
        except InputError as error:
            end, fault = number, error
            break
        if number + 1 - first == _GROUPS:
            yield range(first, number + 1), at_once
            first = number + 1
    if first < end:
        yield range(first, end), at_once
    if fault is not None:
        raise fault
