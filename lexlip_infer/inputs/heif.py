"""HEIF (iPhone photographs) through pillow-heif, an extra.

Its opener is called directly instead of being registered with Pillow: no other user of Pillow in the process notices.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from lexlip_infer.errors import require

if TYPE_CHECKING:
    from PIL import ImageFile

__all__ = ["is_heif", "open_heif"]

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
#: Brands that AVIF files may carry first, too: the compatible brands behind them tell which it is.
_CONTAINERS = {b"mif1", b"msf1"}


def is_heif(data: bytes) -> bool:
    """Whether a file's first bytes say that it is HEIF with HEVC in it (AVIF is Pillow's own business)."""
    if data[4:8] != b"ftyp":
        return False
    compatible = data[16 : min(int.from_bytes(data[:4]), 256)]
    brands = {compatible[i : i + 4] for i in range(0, len(compatible), 4)}
    return data[8:12] in _BRANDS or (data[8:12] in _CONTAINERS and bool(brands & _BRANDS))


def open_heif(data: bytes) -> ImageFile.ImageFile:
    """An image whose header is read; its orientation is applied when it is decoded.

    Raises:
        MissingExtra: pillow-heif is not installed.
        SyntaxError: the bytes are not HEIF after all.
    """
    image: ImageFile.ImageFile = require("pillow_heif.as_plugin", "heif").HeifImageFile(io.BytesIO(data))
    return image
