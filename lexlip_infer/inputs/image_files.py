"""From a path to bytes, and from bytes to a Pillow image whose header is read and whose pixels are not.

`Image.open` would do, but for its size limit, which is a global of Pillow's: here the plugins are asked directly, in
the same way, and the limit is the caller's.
"""

from __future__ import annotations

import io
import stat
import struct
from pathlib import Path

from PIL import Image, ImageFile

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.heif import is_heif, open_heif

__all__ = ["FORMATS", "IMAGE_SUFFIXES", "open_image", "read_image_file"]

#: What Pillow may take a file for. The others are no photographs, and one (EPS) runs a program on the file.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

#: Of those formats and of HEIF; not .pfm, whose floats have no defined range. A suffix only decides which files of a
#: folder are taken for images, never how one is decoded.
IMAGE_SUFFIXES = (
    ".apng", ".avif", ".avifs", ".bmp", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".j2c", ".j2k", ".jfif",
    ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip


def read_image_file(path: str | Path) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: it is not a regular file, cannot be read, or its name is none.
    """
    try:
        mode = Path(path).stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe or a device may never end
            raise ImageError(f"{path}: not a regular file; save the image to one")
        return Path(path).read_bytes()
    except ImageError:
        raise
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"{path!r}: not a file name ({error})") from None


def open_image(data: bytes) -> ImageFile.ImageFile:
    """An image by what the bytes are, whatever its name said.

    Raises:
        ImageError: the bytes are of no format that is read.
        MissingExtra: they are HEIF, and its plugin is not installed.
    """
    if is_heif(data):
        return open_heif(data)
    for load_plugins in (Image.preinit, Image.init):  # the common ones first: all of them take a while
        load_plugins()
        for kind in FORMATS:
            image = _opened_as(kind, data)
            if image is not None:
                return image
    raise ImageError(f"not an image; read are {', '.join(FORMATS)} and HEIF files")


def _opened_as(kind: str, data: bytes) -> ImageFile.ImageFile | None:
    factory, accepts = Image.OPEN.get(kind, (None, None))
    if factory is None or accepts is None or accepts(data[:16]) is not True:
        return None
    try:
        return factory(io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error):  # how plugins say that a file is not theirs
        return None
