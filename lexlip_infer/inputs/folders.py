"""The images of a folder as a list, for those who want them all at once; `readers` has them as a stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.image_files import IMAGE_SUFFIXES
from lexlip_infer.inputs.readers.folder import FolderReader
from lexlip_infer.inputs.readers.passed_over import PassedOver
from lexlip_infer.inputs.readers.places import LocalPlace

__all__ = ["IMAGE_SUFFIXES", "FolderListing", "ImageItem", "list_folder", "list_images"]


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image file.

    Attributes:
        id: its path relative to the root, POSIX separators.
        path: where to read it.
        size: bytes.
    """

    id: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class FolderListing:
    """What a folder holds.

    Attributes:
        images: sorted by id (by Unicode code point, the same on every machine).
        passed_over: how many files of which suffix were taken for something else, hidden ones not counted.
    """

    images: list[ImageItem]
    passed_over: Counter[str]

    def describe_passed_over(self) -> str:
        """Such as "2 x .txt, 1 x .svg", the five most frequent kinds; empty if every file was taken."""
        kinds = PassedOver()
        kinds.kinds = self.passed_over
        return kinds.kinds_seen()


def list_images(root: Path) -> list[ImageItem]:
    """The images of `list_folder`."""
    return list_folder(root).images


def list_folder(root: Path) -> FolderListing:
    """Every image below a folder, and what else is there.

    Files are recognised by suffix, in any case; hidden files and folders are passed over; links to folders are not
    followed. Only regular files and links to them are images: a pipe would never end. A name that is not UTF-8 is
    listed too, with Python's surrogate escapes in its id: the path still opens the file, but the id cannot be written
    anywhere, so whoever writes results reports it as failed.

    Raises:
        InputError: the folder does not exist, is not a folder, cannot be read, or holds no image.
    """
    place = LocalPlace(root)
    if not place.is_folder():
        problem = "is a file; expected a folder of images" if place.exists() else "no such folder"
        raise InputError(f"{root}: {problem}")
    reader = FolderReader(place)
    reader.check()
    images = [ImageItem(item.id, Path(item.origin), item.size) for item in reader if not hasattr(item, "error")]
    return FolderListing(images, reader.passed.kinds)
