"""Tab-separated tables of the official code: columns `title`, `filepath` and, where known, `image_id`; a row a caption.

Quoted as pandas writes and reads them. Rows of one image need not be adjacent.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lexlip_kernels.errors import InputError
from lexlip_training.data.pair_table import CaptionedSource

__all__ = ["read_official_tsv"]

#: What the official tables hold where an image has no id.
_NO_ID = "-100"
_EXPECTED = "expected tab-separated columns title, filepath and perhaps image_id, named in the first line"


def read_official_tsv(file: Path, root: Path) -> Iterator[CaptionedSource]:
    """Images in the order of their first rows, each with all its captions.

    Captions of one image are those of one `image_id`, or of one `filepath` where there is no id.

    Args:
        file: the table.
        root: folder that `filepath` starts from.

    Raises:
        InputError: it cannot be read, or a row is malformed (the message names the line).
    """
    paths: dict[str, str] = {}
    captions: dict[str, list[str]] = {}
    for line, title, path, identifier in _rows(file):
        key = f"path {path}" if identifier == _NO_ID else f"id {identifier}"
        if paths.setdefault(key, path) != path:
            raise InputError(
                f"{file}:{line}: image_id {identifier} stands for {path!r} here and for {paths[key]!r} before"
            )
        captions.setdefault(key, []).append(title)
    for key, path in paths.items():
        yield CaptionedSource(str(root / path), tuple(captions[key]))


def _rows(file: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line, title, path, id."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter="\t", strict=True)
            columns = _columns(file, next(reader, []))
            for row in reader:
                if row:
                    yield reader.line_num, *_cells(f"{file}:{reader.line_num}", row, *columns)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 ({error.reason} near byte {error.start}); convert it") from None
    except csv.Error as error:
        raise InputError(f"{file}:{reader.line_num}: {error}; {_EXPECTED}") from None


def _columns(file: Path, names: list[str]) -> tuple[int, int, int, int | None]:
    """Number of columns, and the places of title, path and id."""
    if names.count("title") != 1 or names.count("filepath") != 1 or names.count("image_id") > 1:
        raise InputError(f"{file}: the first line names {', '.join(names) or 'nothing'}; {_EXPECTED}")
    identifier = names.index("image_id") if "image_id" in names else None
    return len(names), names.index("title"), names.index("filepath"), identifier


def _cells(
    place: str, row: list[str], count: int, title: int, path: int, identifier: int | None
) -> tuple[str, str, str]:
    if len(row) != count:
        raise InputError(f"{place}: {len(row)} instead of {count} columns")
    number = _NO_ID if identifier is None else row[identifier]
    if not number.removeprefix("-").isdecimal():
        raise InputError(f"{place}: image_id {number!r}; expected a whole number")
    if not row[title].strip() or not row[path]:
        raise InputError(f"{place}: an empty {'filepath' if row[title].strip() else 'title'}")
    return row[title], row[path], str(int(number))
