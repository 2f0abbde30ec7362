"""Lines of a text file as every reader here takes them: numbered, so that a message can name the place."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, BinaryIO

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["decode_line", "numbered_lines", "read_lines"]

#: Bytes of a line that are held; what is longer is no caption, and no path.
_LONGEST = 2**26


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


def numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line that is not blank, without its end.

    Blank lines are passed over and still counted, and so is a byte order mark before the first. Lines end at a line
    feed, with or without a carriage return before it, and nowhere else: U+2028 may stand inside a caption. A line of
    more than 64 MiB comes cut; `decode_line` refuses it.
    """
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST and not line.endswith(b"\n"):
            _skip_rest(file)
        if number == 1:  # some editors put it there; anywhere else U+FEFF is part of the text
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _skip_rest(file: BinaryIO) -> None:
    while (rest := file.readline(_LONGEST)) and not rest.endswith(b"\n"):
        pass


def decode_line(line: bytes) -> str:
    """The text of a line.

    Raises:
        InputError: it is not UTF-8, or too long.
    """
    if len(line) > _LONGEST:
        raise InputError(f"a line of more than {_LONGEST >> 20} MiB")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
