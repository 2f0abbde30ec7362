"""What is left of an image that breaks off, for those who would rather have half a picture than none.

Pillow's own switch for this is a global, and leaves what is missing black or grey. Here the image is decoded twice,
into memory filled once with zeros and once with ones: what differs afterwards was never decoded.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile

from lexlip_infer.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__ = ["decoded_part", "truncation"]

#: Where `load_image` leaves its note; it drops every other entry that a file may have put there.
NOTE = "truncated"


def truncation(image: Image.Image) -> str | None:
    """What is missing of an image that `load_image` accepted although it breaks off; nothing for a whole one."""
    note = image.info.get(NOTE)
    return None if note is None else str(note)


def decoded_part(
    reopen: Callable[[], ImageFile.ImageFile], error: Exception
) -> tuple[Image.Image, npt.NDArray[np.bool_]]:
    """An image that could not be decoded whole, as far as it goes, and which of its pixels (H, W) are missing.

    Args:
        reopen: the image anew, not decoded yet.
        error: what decoding it whole ended with.

    Raises:
        ImageError: nothing of it could be decoded.
    """
    image, other = _decode_into(reopen(), 0), _decode_into(reopen(), 255)
    differs = np.asarray(image) != np.asarray(other)
    missing: npt.NDArray[np.bool_] = differs if differs.ndim == 2 else differs.any(axis=2)
    if missing.all():
        raise ImageError(f"damaged image, nothing of it can be decoded ({type(error).__name__}: {error})")
    return image, missing


def _decode_into(image: ImageFile.ImageFile, level: int) -> ImageFile.ImageFile:
    prepare = image.load_prepare

    def prepare_and_fill() -> None:
        prepare()
        bands = len(image.getbands())
        image.im.paste(level if bands == 1 else (level,) * bands, (0, 0, *image.size))

    image.load_prepare = prepare_and_fill  # type: ignore[method-assign]
    with contextlib.suppress(Exception):  # the error is known; codecs raise anything
        image.load()
    image.tile = []  # so that nobody starts decoding again
    image.load()
    return image
