"""Pictures as files, which appear whole or not at all, and never over another file: it may be the photograph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.files import check_new_path, new_file

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

__all__ = ["check_picture_path", "page_path", "save_picture"]

_FORMATS = {".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


def check_picture_path(path: Path) -> None:
    """Refuse a place where no picture can be written, before there is one.

    Raises:
        InputError: the suffix is of no format that is written.
        OutputError: there is such a file, or no such folder.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path}: pictures are written as {', '.join(_FORMATS)}; give the file one of these suffixes")
    check_new_path(path)


def page_path(path: Path, page: int) -> Path:
    """`out.png` and 7 give `out-007.png`."""
    return path.with_name(f"{path.stem}-{page:03d}{path.suffix}")


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that the suffix names.

    Raises:
        InputError: the suffix is of no format that is written.
        OutputError: the file exists, or cannot be written.
    """
    check_picture_path(path)
    with new_file(path) as file:
        try:
            picture.save(file, _FORMATS[path.suffix.lower()], optimize=True, quality=90, subsampling=0)
        except ValueError as error:  # WebP, of more than 16,383 pixels a side
            size = f"{picture.width} x {picture.height} pixels"
            raise OutputError(f"{path}: cannot be written with {size} ({error}); name a .png") from None
