"""Texts of JSONL, TSV, CSV and plain files, row by row; a malformed row is one bad item, and the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem, TextItem
from lexlip_infer.inputs.lines import LONGEST, decode_line, listed, numbered_lines, separated_rows
from lexlip_infer.inputs.readers.checked_ids import is_unicode
from lexlip_infer.inputs.readers.places import Place, reason
from lexlip_infer.inputs.readers.source import Files, Source

#: Line number, id (None: the format has none), and text; or an error in place of both.
Row = tuple[int, str | None, str] | tuple[int, InputError]
#: Line number, and the fields of a row or an error.
Fields = tuple[int, list[str] | InputError]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names that the user gave; None for the format's own."""

    id: str | None = None
    text: str | None = None


class TextFiles(Source[TextItem]):
    """Texts of files. Where lines have no ids, the id is the line's number, after the file's name if there are several.

    Args:
        files: to read; their suffix says how.
        columns: names of the id and text columns.
        numbered_alone: whether a bare number is enough of an id.
    """

    def __init__(self, files: Files, columns: Columns, numbered_alone: bool) -> None:
        super().__init__(files)
        self._columns, self._numbered_alone = columns, numbered_alone

    def check(self) -> None:
        """Raise an InputError if there is no text, or the first row is not what it has to be."""
        for _, place in self.files:
            for row in _file_rows(place, self._columns):
                if isinstance(row[1], InputError):
                    raise InputError(f"{place}:{row[0]}: {row[1]}")
                return
        raise InputError(f"{self.files}: no texts")

    def __iter__(self) -> Iterator[TextItem | BadItem]:
        return self.files.read_each(self._items)

    def _items(self, name: str, place: Place) -> Iterator[TextItem | BadItem]:
        return (self._item(name, place, row) for row in _file_rows(place, self._columns))

    def _item(self, name: str, place: Place, row: Row) -> TextItem | BadItem:
        number = row[0]
        if len(row) == 2:
            return BadItem(f"{name}:{number}", f"{place}:{number}", str(row[1]))
        default = str(number) if self._numbered_alone else f"{name}:{number}"
        return TextItem(default if row[1] is None else row[1], f"{place}:{number}", row[2])


def _file_rows(place: Place, columns: Columns) -> Iterator[Row]:
    rows = TEXT_FORMATS[PurePosixPath(place.name).suffix.lower()]
    with place.open() as file:
        try:
            yield from rows(file, columns)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        except Exception as error:  # noqa: BLE001  (whatever a disk or a network raises in the middle)
            raise InputError(f"{place}: cannot be read ({reason(error)})") from None


def _json_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:
    """Lines `{"id": …, "text": …}`."""
    return _rows(file, lambda line: _json_row(line, columns.id or "id", columns.text or "text"))


def _json_row(line: str, identifier: str, text: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
        cell, content = row[identifier], row[text]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'expected a line {{"{identifier}": …, "{text}": …}}') from None
    if isinstance(cell, bool) or not isinstance(cell, str | int) or not isinstance(content, str):
        raise InputError(f'"{identifier}" must be a string or a number, "{text}" a string')
    if not is_unicode(str(cell)):
        raise InputError(f'"{identifier}" holds half a surrogate pair, which no output file can hold')
    return str(cell), content


def _tsv_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:
    """Lines id, tab, text; where columns are named, the first line names them all."""
    if columns == Columns():
        return _rows(file, _tsv_row)
    return _table(_tab_fields(file), columns)


def _tsv_row(line: str) -> tuple[str, str]:
    identifier, tab, text = line.partition("\t")
    if not tab:
        raise InputError("expected id, tab, text; there is no tab")
    return identifier, text


def _plain_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:  # noqa: ARG001  (one signature for all formats)
    """Lines that are texts."""
    return _rows(file, lambda line: (None, line))


def _csv_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:
    """Comma-separated rows as spreadsheets write them; the first names the columns."""
    return _table(_csv_fields(file), columns)


def _csv_fields(file: BinaryIO) -> Iterator[Fields]:
    pieces = iter(lambda: file.readline(LONGEST + 1), b"")
    lines = (piece.decode("utf-8", "surrogateescape") for piece in pieces)
    for number, fields in separated_rows(_without_mark(lines), ","):
        if isinstance(fields, InputError):
            yield number, InputError(f"malformed CSV ({fields})")
        elif all(map(is_unicode, fields)):
            yield number, fields
        else:
            yield number, InputError("not UTF-8; convert it")


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    """Some editors write a byte order mark before the first line."""
    yield next(lines, "").removeprefix("\ufeff")
    yield from lines


def _table(rows: Iterator[Fields], columns: Columns) -> Iterator[Row]:
    header = next(rows, None)
    if header is None:
        return
    number, names = header
    if isinstance(names, InputError):
        yield number, names
        return
    text = _position(names, columns.text or "text")
    identifier = _position(names, columns.id or "id")
    for number, fields in rows:
        if isinstance(fields, InputError):
            yield number, fields
        elif len(fields) != len(names):
            yield number, InputError(f"{len(fields)} instead of {len(names)} fields")
        else:
            yield number, fields[identifier], fields[text]


def _position(names: Sequence[str], name: str) -> int:
    if names.count(name) != 1:
        raise InputError(f"the first line has to name a column {name!r} once; it names {listed(names)}")
    return names.index(name)


def _rows(file: BinaryIO, parse: Callable[[str], tuple[str | None, str]]) -> Iterator[Row]:
    for number, line in numbered_lines(file):
        try:
            yield number, *parse(decode_line(line))
        except InputError as error:
            yield number, error


def _tab_fields(file: BinaryIO) -> Iterator[Fields]:
    for number, line in numbered_lines(file):
        try:
            yield number, decode_line(line).split("\t")
        except InputError as error:
            yield number, error


#: By suffix.
TEXT_FORMATS = {".jsonl": _json_rows, ".tsv": _tsv_rows, ".csv": _csv_rows, ".txt": _plain_rows}
