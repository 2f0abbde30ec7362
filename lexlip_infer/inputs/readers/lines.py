"""Numbered lines of a file that may be anywhere, none of them too long for the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["decode_line", "numbered_lines"]

#: Bytes of a line that are held; what is longer is no caption, and no path.
_LONGEST = 2**26


def numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line that is not blank, without its end; blank ones are counted.

    Lines end at a line feed, with or without a carriage return before it, and nowhere else. A line of more than 64 MiB
    comes cut, so that whoever reads it finds it too long.
    """
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST:
            _skip_rest(file)
        if line.strip():
            yield number, line.removesuffix(b"\n").removesuffix(b"\r")


def _skip_rest(file: BinaryIO) -> None:
    while (rest := file.readline(_LONGEST)) and not rest.endswith(b"\n"):
        pass


def decode_line(number: int, line: bytes) -> str:
    """The text of a line, without the byte order mark that some editors put before the first.

    Raises:
        InputError: it is not UTF-8, or too long.
    """
    if len(line) > _LONGEST:
        raise InputError(f"a line of more than {_LONGEST >> 20} MiB")
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
