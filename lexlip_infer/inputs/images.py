"""One image: from file, bytes or array to RGB, and from RGB to the pixels a backbone takes.

Orientation follows EXIF, transparency is composited on white, 16-bit greys are scaled instead of clipped. An image
that cannot be decoded whole is an error: a half-grey picture would be indexed as what it is not. No global Pillow
state is changed.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from lexlip_infer.errors import ImageError

__all__ = ["MAX_MEGAPIXELS", "ImagePreprocessor", "ImageSource", "load_image"]

ImageSource = str | Path | bytes | Image.Image | npt.NDArray[np.uint8]

#: Larger images are refused before they are decoded: a small file may declare a picture that fills the memory.
MAX_MEGAPIXELS = 178


def load_image(source: ImageSource) -> Image.Image:
    """Decode an image to RGB, upright, on white.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array (height, width, 3) of 0-255.

    Raises:
        ImageError: the file is missing, empty, truncated, not an image, or larger than `MAX_MEGAPIXELS`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(source)
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from None
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning and codec chatter; our limit is below
            with Image.open(io.BytesIO(data)) as image:
                return _to_rgb(image)
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not an image in any format that Pillow {Image.__version__} reads") from None
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: more than {MAX_MEGAPIXELS} megapixels") from None
    except Exception as error:  # noqa: BLE001  (codecs raise anything on damaged files: struct.error, SyntaxError, ...)
        raise ImageError(f"{name}: damaged image ({type(error).__name__}: {error})") from None


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(
            f"an array of shape {array.shape} and type {array.dtype}; expected (height, width, 3) uint8"
        )
    return Image.fromarray(array)


def _to_rgb(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise ImageError(f"{width} x {height} pixels, more than {MAX_MEGAPIXELS} megapixels")
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        return _scale_16_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _scale_16_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255, which turns every 16-bit photograph white."""
    grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
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
        pixels = np.asarray(resized, np.float32) / np.float32(255)
        pixels = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _squash(self, image: Image.Image) -> Image.Image:
        return image.resize((self.size, self.size), Image.Resampling.BICUBIC)

    def _center_crop(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        scale = self.size / min(width, height)
        # The long side is rounded down and the offset rounded, as torchvision does in the official pipeline.
        width, height = max(self.size, int(width * scale)), max(self.size, int(height * scale))
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + self.size, top + self.size))
