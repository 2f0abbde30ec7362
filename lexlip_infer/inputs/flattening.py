"""From any mode of Pillow's to plain RGB: alpha on a background, 16-bit scaled, profiles applied."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.colour_profiles import to_srgb

__all__ = ["flatten"]


def flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """A new RGB image without anything but its pixels.

    Floats and 32-bit greys have no defined range, so that any picture made of them would be a guess.

    Raises:
        ImageError: the image is made of such numbers.
    """
    if image.mode.startswith(("I", "F")):
        return _scale_16_bit(image)
    if image.mode == "La":
        image = image.convert("LA")  # the only way out of this mode
    image = to_srgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return image.convert("RGB")


def _scale_16_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255, which turns every 16-bit photograph white."""
    grey = np.asarray(image)
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise ImageError("floats or 32-bit greys, which have no defined range; save it with 8 or 16 bits a channel")
    return Image.fromarray((grey // 257).astype(np.uint8)).convert("RGB")
