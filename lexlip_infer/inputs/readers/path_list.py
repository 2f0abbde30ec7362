"""Images named by a list: one path or URL a line, or path, tab, id; from a file, or from standard input."""

from __future__ import annotations

import itertools
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from lexlip_infer.errors import InputError, LexLIPError
from lexlip_infer.inputs.items import BadItem, ImageItem, Source
from lexlip_infer.inputs.lines import numbered_lines
from lexlip_infer.inputs.readers.folders import image_item
from lexlip_infer.inputs.readers.places import fetched, is_url, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.inputs.readers.places import Place

__all__ = ["LIST_SUFFIXES", "PathList", "StandardInput"]

LIST_SUFFIXES = (".txt", ".lst", ".list", ".tsv")


class PathList(Source[ImageItem]):
    """Images of a list file, in its order; relative paths start at the current folder, as those of `find` do.

    Args:
        place: the list.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def check(self) -> None:
        """Raise an InputError if the list cannot be read, or is empty."""
        with self._place.open() as file:
            if next(numbered_lines(file), None) is None:
                raise InputError(f"{self._place}: an empty list; expected a path a line")

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        with self._place.open() as file:
            yield from _items(file)


class StandardInput(Source[ImageItem]):
    """Images of a list on standard input, which can be read once."""

    def __init__(self) -> None:
        super().__init__()
        self._read = False

    def check(self) -> None:
        """Nothing can be known before it is read."""

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        if self._read:
            raise InputError("standard input was read already and cannot be read again; give a list file instead")
        self._read = True
        return _items(sys.stdin.buffer)


def _items(file: BinaryIO) -> Iterator[ImageItem | BadItem]:
    """Runs of URLs are read ahead on threads; to look up a file's size needs none."""
    lines = (_split(line) for _, line in numbered_lines(file))
    for remote, run in itertools.groupby(lines, lambda named: is_url(named[0])):
        yield from fetched(run, _item) if remote else map(_item, run)  # noqa: B031  (one of the two)


def _split(line: bytes) -> tuple[str, str]:
    path, _, identifier = os.fsdecode(line).partition("\t")
    return path, identifier or path


def _item(named: tuple[str, str]) -> ImageItem | BadItem:
    path, identifier = named
    try:
        return image_item(identifier, place_of(path))
    except LexLIPError as error:
        return BadItem.of(identifier, path, error)
