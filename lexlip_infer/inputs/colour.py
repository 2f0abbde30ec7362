"""From any mode of Pillow's to plain RGB: profiles applied, alpha on a background, 16-bit greys scaled.

Embedded ICC profiles turn the numbers of a picture into sRGB's, so that it looks as it does in a browser. A profile
that says what everybody assumes anyway (some variant of sRGB) costs nothing and changes no pixel. One that is damaged,
or of another colour space than the pixels, is passed over, as browsers do.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.tiff import grey_of_tiff

#: Profile colour space and pixel mode that belong together, by the mode of an image.
_SPACES = {
    "L": ("GRAY", "L"),
    "LA": ("GRAY", "L"),
    "P": ("RGB", "RGB"),
    "PA": ("RGB", "RGB"),
    "RGB": ("RGB", "RGB"),
    "RGBA": ("RGB", "RGB"),
    "CMYK": ("CMYK", "CMYK"),
}

#: Levels of 255 by which no sample colour may move for a profile to pass as sRGB: below what rounding does.
_UNMOVED = 2


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
    image = _to_srgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return image.convert("RGB")


def _scale_16_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255, which turns every 16-bit photograph white."""
    grey = np.asarray(image)
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise ImageError("floats or 32-bit greys, which have no defined range; save it with 8 or 16 bits a channel")
    largest, is_black = grey_of_tiff(image)
    levels = (grey.astype(np.uint32) * 255 // largest).astype(np.uint8)
    return Image.fromarray(255 - levels if is_black else levels).convert("RGB")


def _to_srgb(image: Image.Image) -> Image.Image:
    """The same picture in sRGB, alpha kept; the image itself where its profile is absent, unusable, or sRGB."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode not in _SPACES:
        return image
    space, mode = _SPACES[image.mode]
    transform = _transform(profile, space, mode)
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image.convert(mode), transform)
    assert converted is not None, "only an in-place transform returns nothing"
    if image.has_transparency_data:
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted


@lru_cache(maxsize=8)
def _transform(data: bytes, space: str, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if profile.profile.xcolor_space.strip() != space:
            return None
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if mode != "CMYK" and _moves_nothing(transform, mode) else transform


def _moves_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    samples = Image.linear_gradient("L") if mode == "L" else Image.fromarray(_cube())
    converted = ImageCms.applyTransform(samples, transform)
    difference = np.asarray(samples.convert("RGB"), int) - np.asarray(converted, int)
    return bool(np.abs(difference).max() <= _UNMOVED)


def _cube() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """6 x 6 x 6 colours as an image, (36, 6, 3)."""
    level = np.arange(0, 256, 51, dtype=np.uint8)
    return np.stack(np.meshgrid(level, level, level), axis=-1).reshape(36, 6, 3)
