"""Images of a folder, or of a pattern below one."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.image_files import IMAGE_SUFFIXES
from lexlip_infer.inputs.items import BadItem, ImageItem
from lexlip_infer.inputs.readers.fetching import fetched
from lexlip_infer.inputs.readers.passed_over import PassedOver
from lexlip_infer.inputs.readers.places import LocalPlace, Place
from lexlip_infer.inputs.readers.source import Source
from lexlip_infer.inputs.readers.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FolderReader", "image_item", "is_image_name"]


def is_image_name(name: str) -> bool:
    """By suffix, in any case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


class FolderReader(Source[ImageItem]):
    """Images below a folder, recognised by suffix; their ids are their paths below it.

    Args:
        root: the folder.
        prefix: of the ids.
        pattern: which of its files; all when absent.
    """

    ids_are_unique = True

    def __init__(self, root: Place, prefix: str = "", pattern: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.root, self._prefix, self._pattern = root, prefix, pattern

    @property
    def count(self) -> int:
        """Number of images: names are listed, no file is looked at."""
        return self._count

    @cached_property
    def _count(self) -> int:
        return sum(found.kind == "file" and is_image_name(found.path) for found in walk(self.root, self._pattern))

    def check(self) -> None:
        """Raise an InputError if there is no image."""
        if next(self._images(), None) is None:
            seen = self.passed.kinds_seen() or ("no file that matches" if self._pattern else "no files at all")
            where = "/".join([str(self.root).rstrip("/"), *(self._pattern or ())])
            raise InputError(f"{where}: no images; looked for {' '.join(IMAGE_SUFFIXES)}, saw {seen}")

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        """Sorted by id (by Unicode code point, the same on every machine)."""
        if isinstance(self.root, LocalPlace):
            return (image_item(*image) for image in self._images())
        return fetched(self._images(), lambda image: image_item(*image))

    def _images(self) -> Iterator[tuple[str, Place]]:
        self.passed = PassedOver()
        for found in walk(self.root, self._pattern):
            if not is_image_name(found.path):
                self.passed.add(found.path)
            elif found.kind != "file":
                self.passed.kinds["no regular file"] += 1
            else:
                yield self._prefix + found.path, found.place


def image_item(identifier: str, place: Place) -> ImageItem | BadItem:
    """An image file; a remote one is read here and now."""
    if isinstance(place, LocalPlace):
        return ImageItem(identifier, str(place), place.path, place.size())
    try:
        data = place.read()
    except InputError as error:
        return BadItem(identifier, str(place), str(error).removeprefix(f"{place}: "))
    return ImageItem(identifier, str(place), data, len(data))
