"""Images that are files of their own: of a folder, a pattern below one, a list, or a single one; and captions beside.

beach.txt is the caption of beach.jpg, and has the image's id.
"""

from __future__ import annotations

import itertools
import os
import sys
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from lexlip_infer.errors import InputError, LexLIPError
from lexlip_infer.inputs.image_options import IMAGE_SUFFIXES, is_image_name
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.lines import numbered_lines
from lexlip_infer.inputs.readers.patterns import Found, walk
from lexlip_infer.inputs.readers.places import LocalPlace, Place, RemotePlace, fetched, is_url, place_of
from lexlip_infer.inputs.readers.source import Files, PassedOver, Source

if TYPE_CHECKING:
    from collections.abc import Iterator


LIST_SUFFIXES = (".txt", ".lst", ".list", ".tsv")

#: Bytes of a caption file; more is no caption.
_LONGEST_CAPTION = 2**20


class FolderReader(Source[ImageItem]):
    """Images below a folder, or a pattern, recognised by suffix; their ids are their paths below the folder."""

    ids_are_unique = True

    @cached_property
    def count(self) -> int:
        """Number of images: names are listed, no file is looked at."""
        return sum(found.kind == "file" and is_image_name(found.path) for found in self._walk())

    def check(self) -> None:
        """Raise an InputError if there is no image."""
        if next(self._images(), None) is None:
            seen = self.passed.kinds_seen() or ("no file that matches" if self.files.pattern else "no files at all")
            raise InputError(f"{self.files}: no images; looked for {' '.join(IMAGE_SUFFIXES)}, saw {seen}")

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        """Sorted by id (by Unicode code point, the same on every machine)."""
        if isinstance(self.files.place, LocalPlace):
            return (_image_item(*image) for image in self._images())
        return fetched(self._images(), lambda image: _image_item(*image))

    def _walk(self) -> Iterator[Found]:
        return walk(self.files.place, self.files.pattern)

    def _images(self) -> Iterator[tuple[str, Place]]:
        self.passed = PassedOver()
        for found in self._walk():
            if not is_image_name(found.path):
                self.passed.add(found.path)
            elif found.kind != "file":
                self.passed.kinds["no regular file"] += 1
            else:
                yield self.files.prefix + found.path, found.place


def _image_item(identifier: str, place: Place) -> ImageItem | BadItem:
    """An image file; a remote one is read here and now."""
    if isinstance(place, LocalPlace):
        return ImageItem(identifier, str(place), place.path, place.size())
    try:
        data = place.read()
    except InputError as error:
        return BadItem.of(identifier, place, error)
    return ImageItem(identifier, str(place), data, len(data))


class OneImage(Source[ImageItem]):
    """One image, whose id is its name."""

    ids_are_unique = True

    @property
    def count(self) -> int:
        """One."""
        return 1

    def check(self) -> None:
        """Nothing: that it exists is known, and decoding tells the rest."""

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        return (_image_item(name, place) for name, place in self.files)


class PathList(Source[ImageItem]):
    """Images of a list file, in its order; relative paths start at the current folder, as those of `find` do."""

    def check(self) -> None:
        """Raise an InputError if the list cannot be read, or is empty."""
        with self.files.place.open() as file:
            if next(numbered_lines(file), None) is None:
                raise InputError(f"{self.files.place}: an empty list; expected a path a line")

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        with self.files.place.open() as file:
            yield from _listed(file)


class StandardInput(Source[ImageItem]):
    """Images of a list on standard input, which can be read once."""

    def __init__(self) -> None:
        super().__init__(Files(place_of("-")))
        self._read = False

    def check(self) -> None:
        """Nothing can be known before it is read."""

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        if self._read:
            raise InputError("standard input was read already and cannot be read again; give a list file instead")
        self._read = True
        return _listed(sys.stdin.buffer)


def _listed(file: BinaryIO) -> Iterator[ImageItem | BadItem]:
    """Runs of URLs are read ahead on threads; to look up a file's size needs none."""
    lines = (_split(line) for _, line in numbered_lines(file))
    for remote, run in itertools.groupby(lines, lambda named: is_url(named[0])):
        yield from fetched(run, _named_image) if remote else map(_named_image, run)  # noqa: B031  (one of the two)


def _split(line: bytes) -> tuple[str, str]:
    path, _, identifier = os.fsdecode(line).partition("\t")
    return path, identifier or path


def _named_image(named: tuple[str, str]) -> ImageItem | BadItem:
    path, identifier = named
    try:
        return _image_item(identifier, place_of(path))
    except LexLIPError as error:
        return BadItem.of(identifier, path, error)


class CaptionFolder(Source[TextItem]):
    """Captions of the images below a folder, in the images' order; images without one are passed over."""

    ids_are_unique = True

    def check(self) -> None:
        """Raise an InputError if no image has a caption."""
        if next(iter(self), None) is None:
            root = self.files.place
            raise InputError(f"{root}: no captions; looked for a .txt file of the same name beside each image")

    def __iter__(self) -> Iterator[TextItem | BadItem]:
        """Sorted by id."""
        self.passed = PassedOver()
        root, prefix = self.files.place, self.files.prefix
        images = ((prefix + found.path, found.place) for found in walk(root) if is_image_name(found.path))
        remote = isinstance(root, RemotePlace)
        for item in fetched(images, _caption) if remote else map(_caption, images):
            if item is None:
                self.passed.kinds["image without a .txt beside it"] += 1
            else:
                yield item


def _caption(image: tuple[str, Place]) -> TextItem | BadItem | None:
    identifier, place = image
    caption = _beside(place)
    try:
        if not caption.exists():
            return None
        with caption.open() as file:
            data = file.read(_LONGEST_CAPTION + 1)
        if len(data) > _LONGEST_CAPTION:
            return BadItem(identifier, str(caption), f"larger than {_LONGEST_CAPTION >> 20} MiB")
        return TextItem(identifier, str(caption), data.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        return BadItem(identifier, str(caption), f"not UTF-8 ({error.reason} at byte {error.start}); convert it")
    except (OSError, InputError) as error:
        return BadItem.of(identifier, caption, error)


def _beside(place: Place) -> Place:
    if isinstance(place, LocalPlace):
        return LocalPlace(place.path.with_suffix(".txt"))
    return RemotePlace(place.filesystem, str(PurePosixPath(place.path).with_suffix(".txt")))
