"""Images of a folder, recursively, in an order that depends on nothing but their names."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lexlip_infer.errors import InputError

__all__ = ["IMAGE_SUFFIXES", "FolderListing", "ImageItem", "list_folder", "list_images"]

#: Of the formats that `images.py` decodes; not .pfm, whose floats have no defined range.
IMAGE_SUFFIXES = (
    ".apng", ".avif", ".avifs", ".bmp", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip


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
        """Such as "2 x .txt, 1 x .heic", the five most frequent kinds; empty if every file was taken."""
        ranked = sorted(self.passed_over.items(), key=lambda kind: (-kind[1], kind[0]))
        kinds = [f"{count} x {suffix}" for suffix, count in ranked]
        return ", ".join(kinds[:_NAMED_KINDS] + ["…"] * (len(kinds) > _NAMED_KINDS))


#: Kinds of files passed over that a message names.
_NAMED_KINDS = 5


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
    _check_folder(root)
    listing = FolderListing([], Counter())
    for folder, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                _add(listing, root, Path(folder, name))
    if not listing.images:
        seen = listing.describe_passed_over() or "no files at all"
        raise InputError(f"{root}: no images; looked for {' '.join(IMAGE_SUFFIXES)}, saw {seen}")
    listing.images.sort(key=lambda item: item.id)
    return listing


def _add(listing: FolderListing, root: Path, path: Path) -> None:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        listing.passed_over[path.suffix.lower() or "no suffix"] += 1
    elif (size := _regular_size(path)) is None:
        listing.passed_over["no regular file"] += 1
    else:
        listing.images.append(ImageItem(path.relative_to(root).as_posix(), path, size))


def _regular_size(path: Path) -> int | None:
    """Bytes; nothing for a pipe, a device, or a link that leads nowhere."""
    try:
        status = path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            _unreadable(error)
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _check_folder(root: Path) -> None:
    try:
        if root.is_dir():
            return
        problem = "is a file; expected a folder of images" if root.exists() else "no such folder"
    except OSError as error:  # too long a name, or a parent that may not be entered
        problem = f"cannot be read ({error.strerror})"
    raise InputError(f"{root}: {problem}")


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror})")
