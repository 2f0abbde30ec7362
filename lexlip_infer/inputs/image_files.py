"""From a path to bytes, and from bytes to a Pillow image whose header is read and whose pixels are not.

`Image.open` would do, but for its size limit, which is a global of Pillow's: here the plugins are asked directly, in
the same way, and the limit is the caller's. Neither is HEIF registered with Pillow, nor its warnings switched off: no
other user of Pillow in the process notices that we are here.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from PIL import Image, ImageFile

from lexlip_infer.errors import ImageError, require
from lexlip_infer.files.reading import read_regular
from lexlip_infer.inputs.tiff import describe_tiff

#: What Pillow may take a file for. The others are no photographs, and one (EPS) runs a program on the file.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

#: Of an image file: the pixels of the largest picture that is read by default take as many, uncompressed.
MAX_FILE_BYTES = 2**29

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
#: Brands that AVIF files may carry first, too: the compatible brands behind them tell which it is.
_HEIF_CONTAINERS = {b"mif1", b"msf1"}


def read_image_file(path: str | Path) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: it is not a regular file, larger than `MAX_FILE_BYTES`, cannot be read, or its name is none.
    """
    try:
        return read_regular(path, MAX_FILE_BYTES, refuse=lambda reason: ImageError(f"{path}: {reason}"))
    except ImageError:  # a ValueError, too
        raise
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"{path!r}: not a file name ({error})") from None


def open_image(data: bytes, formats: Sequence[str] = FORMATS) -> ImageFile.ImageFile:
    """An image by what the bytes are, whatever its name said.

    Args:
        data: contents of a file.
        formats: that it may have; HEIF always.

    Raises:
        ImageError: the bytes are of no format that is read, or only begin as one does.
        MissingExtra: they are HEIF, and its plugin is not installed.
    """
    if is_heif(data):
        return _open_heif(data)
    faults = dict[str, str]()
    for load_plugins in (Image.preinit, Image.init):  # the common ones first: all of them take a while
        load_plugins()
        for kind in formats:
            image = _opened_as(kind, data, faults)
            if image is not None:
                return image
    if not faults:
        raise ImageError(f"not an image; read are {', '.join(FORMATS)} and HEIF files")
    kind, fault = next(iter(faults.items()))
    if kind == "TIFF" and (layout := describe_tiff(data)):
        raise ImageError(f"a TIFF of a kind that is not read, or damaged ({layout}: {fault}); save it as RGB of 8 bits")
    raise ImageError(f"damaged image: it begins as {kind} files do, and its header cannot be read ({fault})")


def _opened_as(kind: str, data: bytes, faults: dict[str, str]) -> ImageFile.ImageFile | None:
    """The image, or nothing where the bytes are not of this kind; where they only begin so, a fault is noted."""
    factory, accepts = Image.OPEN.get(kind, (None, None))
    accepted = accepts(data[:16]) if factory is not None and accepts is not None else False
    if factory is None or not accepted:
        return None
    if isinstance(accepted, str):  # of this kind, but this build of Pillow lacks the codec
        faults[kind] = accepted
        return None
    try:
        return factory(io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error) as error:  # how plugins say that a file is not theirs
        faults[kind] = str(error) or type(error).__name__
        return None


def is_heif(data: bytes) -> bool:
    """Whether a file's first bytes say that it is HEIF with HEVC in it (AVIF is Pillow's own business)."""
    if data[4:8] != b"ftyp":
        return False
    compatible = data[16 : min(int.from_bytes(data[:4]), 256)]
    brands = {compatible[i : i + 4] for i in range(0, len(compatible), 4)}
    return data[8:12] in _HEIF_BRANDS or (data[8:12] in _HEIF_CONTAINERS and bool(brands & _HEIF_BRANDS))


def _open_heif(data: bytes) -> ImageFile.ImageFile:
    """Through pillow-heif, an extra; its orientation is applied when it is decoded."""
    image: ImageFile.ImageFile = require("pillow_heif.as_plugin", "heif").HeifImageFile(io.BytesIO(data))
    return image


_IGNORE_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_lock = threading.Lock()
_inside = 0


@contextmanager
def silenced() -> Iterator[None]:
    """No warning is issued from within Pillow while at least one thread is in here.

    Pillow warns about damaged EXIF, odd TIFF tags and sizes above its own mark: no use in a run over a million files,
    and a refused image where warnings are errors. `warnings.catch_warnings` saves and restores the whole filter list
    and loses entries when threads overlap. Here one entry, for Pillow's modules only, is put in front while somebody
    decodes, and nothing else of the interpreter's state is touched.
    """
    global _inside  # noqa: PLW0603  (the filter list is global, so is the count of its users)
    with _lock:
        _inside += 1
        if not _filters() or _filters()[0] is not _IGNORE_PILLOW:
            _filters().insert(0, _IGNORE_PILLOW)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            while not _inside and _IGNORE_PILLOW in _filters():
                _filters().remove(_IGNORE_PILLOW)


def _filters() -> list[Any]:
    # Looked up each time: a test runner or the user may have put another list in place.
    return cast("list[Any]", warnings.filters)
