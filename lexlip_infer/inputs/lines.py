"""Lines of a text file as every reader here takes them, and rows of separated fields, which may span lines.

Both come numbered, so that a message can name the place.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from lexlip_infer.errors import InputError

#: Bytes of a line, a row or a text that are held; what is longer is no caption, and no path. Python's objects for a
#: line of JSON may take thirty times as much.
LONGEST = 2**24

#: Fields of a row.
_MOST_FIELDS = 2**16

#: Names that a message lists, and characters of each.
_NAMED, _CHARACTERS = 20, 80


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line that is not blank; see `numbered_lines`.

    Raises:
        InputError: the file is missing, cannot be read, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            for number, line in numbered_lines(file):
                try:
                    yield number, decode_line(line)
                except InputError as error:
                    raise InputError(f"{path}:{number}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def read_given(path: Path, limit: int) -> bytes:
    """The contents of a file that the user has named, which may be a pipe.

    Raises:
        InputError: it is missing, cannot be read, or has more than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise InputError(f"{path}: larger than {limit >> 20} MiB, the most that is read of such a file")
    return data


def numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line that is not blank, without its end.

    Blank lines are passed over and still counted, and so is a byte order mark before the first. Lines end at a line
    feed, with or without a carriage return before it, and nowhere else: U+2028 may stand inside a caption. A line of
    more than 16 MiB comes cut; `decode_line` refuses it. The rest of it is read when the next line is asked for.
    """
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        cut = len(line) > LONGEST and not line.endswith(b"\n")
        if number == 1:  # some editors put it there; anywhere else U+FEFF is part of the text
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line.rstrip(b"\r\n")
        if cut:
            _skip_rest(file)


def _skip_rest(file: BinaryIO) -> None:
    while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
        pass


def decode_line(line: bytes) -> str:
    """The text of a line.

    Raises:
        InputError: it is not UTF-8, or too long.
    """
    if len(line) > LONGEST:
        raise InputError(f"a line of more than {LONGEST >> 20} MiB, the most that is read of one")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 ({error.reason} at byte {error.start}); convert it") from None


def listed(names: Collection[object]) -> str:
    """Names for a message: the first of them, long ones cut."""
    first = [str(name) for name in islice(names, _NAMED)]
    shown = [name if len(name) <= _CHARACTERS else f"{name[:_CHARACTERS]}…" for name in first]
    return ", ".join(shown) + f", … ({len(names):,} in all)" * (len(names) > len(shown))


def separated_rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str] | InputError]]:
    """Rows of a CSV or TSV as spreadsheets and pandas write them: number of the last line, and fields or what is wrong.

    Rows are those of `csv.reader(strict=True)`, blank ones passed over, but for two things. A field may be as long as a
    line may be (`csv` has a limit of 131,072 characters, which is global). And a malformed row ends where its quotes
    do: `csv` begins anew with the next line, so that the inside of a long text comes out as rows of its own. One that
    is too long is told as soon as it is.

    Args:
        lines: with their ends.
        delimiter: between fields.
    """
    row, number, begins, told = _Row(delimiter), 0, True, False
    for line in lines:
        number += begins
        begins = line.endswith(("\n", "\r"))
        plain = line.rstrip("\r\n")
        if not row.size and '"' not in line and "\r" not in plain and len(line) <= _MOST_FIELDS:  # most lines, sooner
            if plain:
                yield number, plain.split(delimiter)
            continue
        ends = row.take(line, number)
        if not told and ((ends and (row.fields or row.fault)) or row.size > LONGEST):
            yield number, row.error(number) if row.fault else row.fields
            told = True
        if ends:
            row, told = _Row(delimiter), False
    if row.size and not told:
        row.fault = row.fault or "unexpected end of data"
        yield number, row.error(number)


class _Row:
    """A row as far as it was read."""

    def __init__(self, delimiter: str) -> None:
        self.fields: list[str] = []
        self.fault = ""
        self.size = 0
        self._delimiter = delimiter
        self._number = 0
        self._quoted: list[str] | None = None  # pieces of a field whose quotes are open

    def error(self, number: int) -> InputError:
        """What is wrong with a row that ends in this line."""
        return InputError(self.fault + f"; the row begins in line {self._number}" * (self._number < number))

    def take(self, line: str, number: int) -> bool:
        """Read on; whether the row ends with this line."""
        self._number = self._number or number
        self.size += len(line)
        if self.size > LONGEST:
            self.fault = f"a row of more than {LONGEST >> 20} MiB, the most that is read of one"
        at, end = 0, len(line.rstrip("\r\n"))
        while not self.fault:
            quoted = self._quoted is not None or line.startswith('"', at)
            at = self._take_quoted(line, at, end) if quoted else self._take_plain(line, at, end)
            if len(self.fields) > _MOST_FIELDS:
                self.fault = f"a row of more than {_MOST_FIELDS:,} fields, the most that are read of one"
            elif at < 0 or at > end:
                return at > end
        return self._skip(line, at)

    def _take_plain(self, line: str, at: int, end: int) -> int:
        """Where the next field begins; behind the end after the last."""
        to = line.find(self._delimiter, at, end)
        self.fields.append(line[at:end] if to < 0 else line[at:to])
        if "\r" in self.fields[-1]:
            self.fault = "new-line character seen in unquoted field"
        return end + 1 if to < 0 else to + 1

    def _take_quoted(self, line: str, at: int, end: int) -> int:
        """Where to go on; -1 with the next line."""
        if self._quoted is None:
            self._quoted, at = [], at + 1
        to = line.find('"', at)
        self._quoted.append(line[at:] if to < 0 else line[at:to])
        if to < 0:
            return -1
        if line.startswith('"', to + 1):
            self._quoted.append('"')
            return to + 2
        self.fields.append("".join(self._quoted))
        self._quoted = None
        if to + 1 < end and not line.startswith(self._delimiter, to + 1):
            self.fault = f"{self._delimiter!r} expected after '\"'"
        return to + 2

    def _skip(self, line: str, at: int) -> bool:
        """Of a malformed row, only the number of its quotes counts: it ends with a line that leaves none open."""
        is_open = (self._quoted is not None) ^ (line.count('"', at) % 2 == 1)
        self._quoted = [] if is_open else None
        return not is_open and line.endswith(("\n", "\r"))
