"""Lines of a text file as every reader here takes them: numbered, so that a message can name the place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_lines"]


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line that is not blank.

    Blank lines are passed over and still counted, and so is a byte order mark before the first. Lines end at a line
    feed, with or without a carriage return before it, and nowhere else: U+2028 may stand inside a caption.

    Raises:
        InputError: the file is missing, cannot be read, or is not UTF-8.
    """
    try:
        with path.open("rb") as lines:
            for number, data in enumerate(lines, start=1):
                line = _decode(path, number, data)
                if line.strip():
                    yield number, line
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _decode(path: Path, number: int, data: bytes) -> str:
    try:
        # Some editors open a file with a byte order mark; anywhere else U+FEFF is part of the text.
        return data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}:{number}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
