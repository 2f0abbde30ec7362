"""From images to the pixels a backbone takes, decoded on threads ahead of whoever consumes them.

Pillow releases the interpreter lock while it decodes and resizes, so threads are enough to keep one CPU session busy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.images import ImageSource, load_image
from lexlip_infer.inputs.read_ahead import map_ahead

Pixels = npt.NDArray[np.float32]

#: Aspect ratio up to which a centre crop is cut from the whole resized image, exactly as torchvision does.
_LONGEST = 8


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

    def __call__(self, image: Image.Image) -> Pixels:
        """Pixels (3, S, S): bicubic, antialiased resize, then (pixel / 255 - mean) / std."""
        resized = self._squash(image) if self.resize == "squash" else self._center_crop(image)
        # Channels first while they are bytes, then in place: a quarter of the time of copies in float.
        pixels = np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1)).astype(np.float32)
        pixels /= np.float32(255)
        pixels -= np.array(self.mean, np.float32)[:, None, None]
        pixels /= np.array(self.std, np.float32)[:, None, None]
        return pixels

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


def decode_images(
    sources: Iterable[ImageSource], preprocess: ImagePreprocessor, workers: int, ahead: int
) -> Iterator[Pixels | ImageError]:
    """Pixels (3, S, S) of each source, or the error that took its place, in order: nothing shifts.

    Args:
        sources: consumed lazily, at most `ahead` items before they are asked for.
        preprocess: resize and normalisation.
        workers: decoding threads.
        ahead: images in flight; memory is bounded by this many decoded images.
    """

    def decode(source: ImageSource) -> Pixels | ImageError:
        try:
            return preprocess(load_image(source))
        except ImageError as error:
            return ImageError(str(error))  # without its traceback, which would keep the file's bytes alive

    return map_ahead(decode, sources, workers, ahead, "decode")


def decoded_only(pixels: Iterable[Pixels | ImageError]) -> Iterator[Pixels]:
    """Pixels alone, in order.

    Raises:
        ImageError: one is a failure; the message says at which position.
    """
    for position, item in enumerate(pixels):
        if isinstance(item, ImageError):
            raise ImageError(f"images[{position}]: {item}")
        yield item
