"""One image: from file, bytes or array to RGB, the one door for every picture that is encoded.

Orientation follows EXIF, transparency is composited on a background, 16-bit greys are scaled instead of clipped, ICC
profiles are applied. Floats and 32-bit greys have no defined range: they are refused. An image that cannot be decoded
whole is an error unless the caller accepts it, and then it is marked: see `truncation`. No global Pillow state is
changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile

from lexlip_infer.errors import ImageError, InputError, MissingExtra
from lexlip_infer.inputs.colour import flatten
from lexlip_infer.inputs.frames import Frame, open_frame
from lexlip_infer.inputs.image_files import MAX_FILE_BYTES, open_image, read_image_file, silenced
from lexlip_infer.inputs.image_options import DEFAULT_OPTIONS, ImageOptions
from lexlip_infer.inputs.tiff import check_tiff

ImageSource = str | Path | bytes | BinaryIO | Frame | Image.Image | npt.NDArray[np.uint8]

#: Where `load_image` leaves its note; it drops every other entry that a file may have put there.
_NOTE = "truncated"

#: Rows that are compared at a time.
_ROWS = 256

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: ImageSource, options: ImageOptions = DEFAULT_OPTIONS) -> Image.Image:
    """Decode an image to RGB, upright, on a background.

    Args:
        source: a path or URL (extra `io`), the bytes of an image file or one that is open for reading them, a frame, a
            Pillow image, or an array (height, width, 3) of 0-255. Of an animation that is given whole, the first frame
            is taken, whatever `options.frames` says.
        options: see `ImageOptions`.

    Raises:
        ImageError: the file is missing, empty, truncated, not a regular file, not an image, of numbers without a
            defined range, of a format whose extra is not installed, or larger than `options.max_megapixels`.
        MissingExtra: a URL takes a package that is not installed.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode("the given image", lambda: source, options, None)
    if isinstance(source, Frame):
        # A later frame is drawn over others, so that what is missing of it cannot be told.
        anew = partial(_first_frame, source) if source.number == 0 else None
        return _decode(str(source), partial(open_frame, source, partial(_check_size, options=options)), options, anew)
    reader = partial(open_image, _data(source))
    return _decode(_name(source), reader, options, reader)


def truncation(image: Image.Image) -> str | None:
    """What is missing of an image that `load_image` accepted although it breaks off; nothing for a whole one."""
    note = image.info.get(_NOTE)
    return None if note is None else str(note)


def _first_frame(frame: Frame) -> ImageFile.ImageFile:
    return open_image(frame.read())


def _name(source: object) -> str:
    return str(source) if isinstance(source, str | Path) else f"the given {type(source).__name__}"


def _data(source: str | Path | bytes | BinaryIO) -> bytes:
    if isinstance(source, str | Path):
        data = _read(source)
    elif isinstance(source, bytes):
        data = source
    elif hasattr(source, "read"):
        data = _read_open(source)
    else:
        expected = "a path, a URL, bytes, an open file, a Pillow image or an array"
        raise ImageError(f"an image is {expected}, not {type(source).__name__}")
    if not data:
        raise ImageError(f"{_name(source)}: the file is empty (0 bytes)")
    return data


def _read(source: str | Path) -> bytes:
    if not isinstance(source, str) or "://" not in source:
        return read_image_file(source)
    from lexlip_infer.inputs.readers.places import LocalPlace, place_of  # and with it every other reader

    place = place_of(source)
    if isinstance(place, LocalPlace):
        return read_image_file(place.path)
    try:
        return place.read()
    except InputError as error:
        raise ImageError(str(error)) from None


def _read_open(file: BinaryIO) -> bytes:
    try:
        data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: it is closed, or a text that is not UTF-8
        raise ImageError(f"{_name(file)}: cannot be read ({error})") from None
    if not isinstance(data, bytes):
        raise ImageError(f"{_name(file)} gives {type(data).__name__}; open the image file in binary mode ('rb')")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{_name(file)}: larger than {MAX_FILE_BYTES >> 20} MiB, the most that is read of an image")
    return data


def _decode(
    name: str,
    opener: Callable[[], Image.Image],
    options: ImageOptions,
    reopen: Callable[[], ImageFile.ImageFile] | None,
) -> Image.Image:
    try:
        with silenced():
            return _to_rgb(opener(), options, reopen)
    except ImageError as error:
        raise ImageError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
    except MissingExtra as error:
        raise ImageError(f"{name}: {error}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: {_bomb(error, options)}") from None
    except Exception as error:  # noqa: BLE001  (codecs raise anything on damaged files: struct.error, SyntaxError, ...)
        raise ImageError(f"{name}: damaged image ({type(error).__name__}: {error})") from None


def _bomb(error: Exception, options: ImageOptions) -> str:
    """Some plugins of Pillow's look at its global limit themselves, which may be below ours."""
    if 2 * (Image.MAX_IMAGE_PIXELS or 0) >= options.max_megapixels * 1e6:
        return f"more than {options.max_megapixels:g} megapixels"
    return f"more than Pillow's own limit, PIL.Image.MAX_IMAGE_PIXELS, allows for this format ({error})"


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(f"an array of shape {array.shape} and type {array.dtype}; expected (height, width, 3) uint8")
    return Image.fromarray(array)


def _to_rgb(image: Image.Image, options: ImageOptions, reopen: Callable[[], ImageFile.ImageFile] | None) -> Image.Image:
    _check_size(image, options)
    check_tiff(image)
    missing = None
    try:
        image.load()
    except Exception as error:
        if options.truncated == "fail" or reopen is None:
            raise
        image, missing = _decoded_part(reopen, error)
    _check_size(image, options)  # some files are larger than their header says
    rgb = flatten(image, options.background_rgb)
    rgb.info.clear()
    if missing is not None:
        rgb.paste(options.background_rgb, mask=Image.fromarray(missing))
        rgb.info[_NOTE] = (
            f"{missing.mean():.0%} of the picture is missing and shows the background ({options.background})"
        )
    return _upright(rgb, image)


def _check_size(image: Image.Image, options: ImageOptions) -> None:
    width, height = image.size
    if width * height > options.max_megapixels * 1e6:
        raise ImageError(f"{width} x {height} pixels, more than {options.max_megapixels:g} megapixels")


def _upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  (damaged EXIF is a matter of chance in Pillow, and says nothing of the pixels)
        return rgb
    return rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb


def _decoded_part(
    reopen: Callable[[], ImageFile.ImageFile], error: Exception
) -> tuple[Image.Image, npt.NDArray[np.bool_]]:
    """An image that could not be decoded whole, as far as it goes, and which of its pixels (H, W) are missing.

    Pillow's own switch for this is a global, and leaves what is missing black or grey. Here the image is decoded twice,
    into memory filled once with zeros and once with ones: what differs afterwards was never decoded.

    Args:
        reopen: the image anew, not decoded yet.
        error: what decoding it whole ended with.

    Raises:
        ImageError: nothing of it could be decoded.
    """
    image, other = _decode_into(reopen(), 0), _decode_into(reopen(), 255)
    missing = np.concatenate([_differing(image, other, top) for top in range(0, image.height, _ROWS)])
    if missing.all():
        raise ImageError(f"damaged image, nothing of it can be decoded ({type(error).__name__}: {error})")
    return image, missing


def _differing(image: Image.Image, other: Image.Image, top: int) -> npt.NDArray[np.bool_]:
    """(rows, W), where a few rows of two images differ; arrays of all of them would take gigabytes."""
    box = (0, top, image.width, min(top + _ROWS, image.height))
    differs = np.asarray(image.crop(box)) != np.asarray(other.crop(box))
    missing: npt.NDArray[np.bool_] = np.logical_or.reduce(np.atleast_3d(differs), axis=2)
    return missing


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
