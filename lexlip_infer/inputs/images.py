"""One image: from file, bytes or array to RGB, and from RGB to the pixels a backbone takes.

Orientation follows EXIF, transparency is composited on white, 16-bit greys are scaled instead of clipped. Floats and
32-bit greys have no defined range, so that any picture made of them would be a guess: they are refused.
An image that cannot be decoded whole is an error: a half-grey picture would be indexed as what it is not.
No global Pillow state is changed.
"""

from __future__ import annotations

import io
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.pillow_warnings import silenced

__all__ = ["MAX_MEGAPIXELS", "ImagePreprocessor", "ImageSource", "load_image"]

ImageSource = str | Path | bytes | Image.Image | npt.NDArray[np.uint8]

#: Larger images are refused before they are decoded: a small file may declare one that fills the memory.
MAX_MEGAPIXELS = 178

#: Aspect ratio up to which a centre crop is cut from the whole resized image, exactly as torchvision does.
_LONGEST = 8

#: What Pillow may take a file for. The others are no photographs, and one (EPS) runs a program on the file.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: ImageSource) -> Image.Image:
    """Decode an image to RGB, upright, on white.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array (height, width, 3) of 0-255.

    Raises:
        ImageError: the file is missing, empty, truncated, not a regular file, not an image, of numbers without a
            defined range, or larger than `MAX_MEGAPIXELS`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode("the given image", source)
    if isinstance(source, bytes):
        return _decode("the given bytes", source)
    return _decode(str(source), _read(source))


def _read(path: str | Path) -> bytes:
    if not isinstance(path, str | Path):
        raise ImageError(f"an image is a path, bytes, a Pillow image or an array, not {type(path).__name__}")
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


def _decode(name: str, source: bytes | Image.Image) -> Image.Image:
    if not source:
        raise ImageError(f"{name}: the file is empty (0 bytes)")
    try:
        with silenced():
            if isinstance(source, Image.Image):
                return _to_rgb(source)
            with Image.open(io.BytesIO(source), formats=_FORMATS) as image:
                return _to_rgb(image)
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not an image; read are {', '.join(_FORMATS)} files") from None
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: more than {MAX_MEGAPIXELS} megapixels") from None
    except Exception as error:  # noqa: BLE001  (codecs raise anything on damaged files: struct.error, SyntaxError, ...)
        raise ImageError(f"{name}: damaged image ({type(error).__name__}: {error})") from None


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(f"an array of shape {array.shape} and type {array.dtype}; expected (height, width, 3) uint8")
    return Image.fromarray(array)


def _to_rgb(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise ImageError(f"{width} x {height} pixels, more than {MAX_MEGAPIXELS} megapixels")
    image.load()
    image = _upright(image)
    if image.mode.startswith(("I", "F")):
        return _scale_16_bit(image)
    if image.mode == "La":
        image = image.convert("LA")  # the only way out of this mode
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  (damaged EXIF is a matter of chance in Pillow, and says nothing of the pixels)
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _scale_16_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255, which turns every 16-bit photograph white."""
    grey = np.asarray(image)
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise ImageError("floats or 32-bit greys, which have no defined range; save it with 8 or 16 bits a channel")
    return Image.fromarray((grey // 257).astype(np.uint8)).convert("RGB")


@dataclass(frozen=True, slots=True)
class ImagePreprocessor:
    """RGB images to backbone input.

    Attributes:
        size: S, pixels.
        resize: "squash" ignores the aspect ratio; "center_crop" resizes the short side to S, then crops.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, divides afterwards.
    """

    size: int
    resize: Literal["squash", "center_crop"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """Pixels (3, S, S): bicubic, antialiased resize, then (pixel / 255 - mean) / std."""
        resized = self._squash(image) if self.resize == "squash" else self._center_crop(image)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        pixels = np.asarray(resized, np.float32) / np.float32(255)
        normalised: npt.NDArray[np.float32] = (pixels - mean) / std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))

    def _squash(self, image: Image.Image) -> Image.Image:
        return image.resize((self.size, self.size), Image.Resampling.BICUBIC)

    def _center_crop(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        short = min(width, height)
        # The long side is rounded down and the offset rounded, as torchvision does in the official pipeline.
        full_width, full_height = self.size * width // short, self.size * height // short
        left, top = round((full_width - self.size) / 2), round((full_height - self.size) / 2)
        if max(full_width, full_height) <= _LONGEST * self.size:
            resized = image.resize((full_width, full_height), Image.Resampling.BICUBIC)
            return resized.crop((left, top, left + self.size, top + self.size))
        # Only the part that is kept is computed: a 1 x 5000 strip would grow to a gigabyte before its crop. Pillow
        # rounds the box's filter a little differently, by up to 2 of 255 levels.
        x, y = width / full_width, height / full_height
        box = (left * x, top * y, min(width, (left + self.size) * x), min(height, (top + self.size) * y))
        return image.resize((self.size, self.size), Image.Resampling.BICUBIC, box)
