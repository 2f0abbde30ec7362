"""Texts of JSONL, TSV, CSV and plain files, row by row; a malformed row is one bad item, and the rest goes on."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem, TextItem
from lexlip_infer.inputs.readers.places import reason
from lexlip_infer.inputs.readers.source import Source
from lexlip_infer.inputs.readers.text_formats import Columns, csv_rows, json_rows, plain_rows, tsv_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.inputs.readers.files import Files
    from lexlip_infer.inputs.readers.places import Place
    from lexlip_infer.inputs.readers.text_formats import Row

__all__ = ["TEXT_FORMATS", "TextFiles"]

TEXT_FORMATS = {".jsonl": json_rows, ".tsv": tsv_rows, ".csv": csv_rows, ".txt": plain_rows}


class TextFiles(Source[TextItem]):
    """Texts of files. Where lines have no ids, the id is the line's number, after the file's name if there are several.

    Args:
        files: to read; their suffix says how.
        columns: names of the id and text columns.
        numbered_alone: whether a bare number is enough of an id.
    """

    def __init__(self, files: Files, columns: Columns, numbered_alone: bool) -> None:
        super().__init__()
        self._files, self._columns, self._numbered_alone = files, columns, numbered_alone

    def check(self) -> None:
        """Raise an InputError if there is no text, or the first row is not what it has to be."""
        for _, place in self._files:
            for row in _rows(place, self._columns):
                if isinstance(row[1], InputError):
                    raise InputError(f"{place}:{row[0]}: {row[1]}")
                return
        raise InputError(f"{self._files}: no texts")

    def __iter__(self) -> Iterator[TextItem | BadItem]:
        """In the order of the rows."""
        for name, place in self._files:
            try:
                for row in _rows(place, self._columns):
                    yield self._item(name, place, row)
            except InputError as error:
                yield BadItem(name, str(place), str(error).removeprefix(f"{place}: "))

    def _item(self, name: str, place: Place, row: Row) -> TextItem | BadItem:
        number = row[0]
        if len(row) == 2:
            return BadItem(f"{name}:{number}", f"{place}:{number}", str(row[1]))
        default = str(number) if self._numbered_alone else f"{name}:{number}"
        return TextItem(default if row[1] is None else row[1], f"{place}:{number}", row[2])


def _rows(place: Place, columns: Columns) -> Iterator[Row]:
    rows = TEXT_FORMATS[PurePosixPath(place.name).suffix.lower()]
    with place.open() as file:
        try:
            yield from rows(file, columns)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        except Exception as error:  # noqa: BLE001  (whatever a disk or a network raises in the middle)
            raise InputError(f"{place}: cannot be read ({reason(error)})") from None
