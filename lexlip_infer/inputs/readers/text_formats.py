"""One line of a text file as id and text: JSON, tab-separated, plain. CSV has rows that span lines: see `csv_rows`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.lines import decode_line, numbered_lines
from lexlip_infer.inputs.readers.cells import is_unicode

if TYPE_CHECKING:
    from _csv import Reader as CsvReader
    from collections.abc import Sequence

__all__ = ["Columns", "Row", "csv_rows", "json_rows", "plain_rows", "tsv_rows"]

#: Line number, id (None: the format has none), and text; or an error in place of both.
Row = tuple[int, str | None, str] | tuple[int, InputError]
#: Line number, and the fields of a row or an error.
Fields = tuple[int, list[str] | InputError]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names that the user gave; None for the format's own."""

    id: str | None = None
    text: str | None = None


def json_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:
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


def tsv_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:
    """Lines id, tab, text; where columns are named, the first line names them all."""
    if columns == Columns():
        return _rows(file, _tsv_row)
    return _table(_tab_fields(file), columns)


def _tsv_row(line: str) -> tuple[str, str]:
    identifier, tab, text = line.partition("\t")
    if not tab:
        raise InputError("expected id, tab, text; there is no tab")
    return identifier, text


def plain_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:  # noqa: ARG001  (one signature for all formats)
    """Lines that are texts."""
    return _rows(file, lambda line: (None, line))


def csv_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:
    """Comma-separated rows as spreadsheets write them; the first names the columns."""
    return _table(_csv_fields(csv.reader(_csv_lines(file), strict=True)), columns)


def _csv_lines(file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")


def _csv_fields(reader: CsvReader) -> Iterator[Fields]:
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, InputError(f"malformed CSV ({error})")
            continue
        if not fields:
            continue
        if all(map(is_unicode, fields)):
            yield reader.line_num, fields
        else:
            yield reader.line_num, InputError("not UTF-8; convert it")


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
        raise InputError(f"the first line has to name a column {name!r} once; it names {', '.join(names)}")
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
