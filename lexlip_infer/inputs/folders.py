"""Images of a folder, recursively, in an order that depends on nothing but their names."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lexlip_infer.errors import InputError

__all__ = ["IMAGE_SUFFIXES", "ImageItem", "list_images"]

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image file.

    Attributes:
        id: its path relative to the root, POSIX separators.
        path: where to read it.
    """

    id: str
    path: Path


def list_images(root: Path) -> list[ImageItem]:
    """Every image below a folder, sorted by id (by Unicode code point, the same on every machine).

    Files are recognised by suffix, in any case; hidden files and folders are passed over; links to folders
    are not followed. A name that is not UTF-8 is listed too, with Python's surrogate escapes in its id: the
    path still opens the file, but the id cannot be written anywhere, so whoever writes results reports it
    as failed.

    Raises:
        InputError: the folder does not exist, is not a folder, cannot be read, or holds no image.
    """
    _check_folder(root)
    items, others = [], Counter[str]()
    for folder, folders, files in os.walk(root, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                items.append(ImageItem(path.relative_to(root).as_posix(), path))
            else:
                others[path.suffix.lower() or "no suffix"] += 1
    if not items:
        raise InputError(f"{root}: no images; looked for {' '.join(IMAGE_SUFFIXES)}, saw {_describe(others)}")
    return sorted(items, key=lambda item: item.id)


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


def _describe(others: Counter[str]) -> str:
    if not others:
        return "no files at all"
    return ", ".join(f"{count} x {suffix}" for suffix, count in others.most_common(5))
