"""RandAugment with N = 2 and M = 9 of 30 as LexLIP was trained with it, quirks included.

The magnitude is fixed, so that posterising leaves one bit a channel (the most that its scale allows), colour, contrast,
brightness and sharpness always go down, to 0.64, and never up, solarising inverts above 76.8, and translations are up
to 30 pixels of the image before it is resized. Geometry takes a random sign; what it uncovers is black.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

__all__ = ["OPERATIONS", "official_randaugment"]

_OPERATIONS_EACH, _MAGNITUDE, _LARGEST = 2, 9, 30

Operation = Callable[[Image.Image, float], Image.Image]


def _affine(image: Image.Image, *coefficients: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients)


def _solarize_add(image: Image.Image, addition: float) -> Image.Image:
    """Brighten, then invert what has become brighter than half."""
    brightened = np.clip(np.asarray(image, np.int64) + int(addition), 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(brightened), 128)


#: Operation, smallest and largest value of its parameter, and whether that takes a random sign.
OPERATIONS: dict[str, tuple[Operation, float, float, bool]] = {
    "AutoContrast": (lambda image, _: ImageOps.autocontrast(image), 0, 1, False),
    "Equalize": (lambda image, _: ImageOps.equalize(image), 0, 1, False),
    "Rotate": (lambda image, degrees: image.rotate(degrees), 0, 30, True),
    "Posterize": (lambda image, bits: ImageOps.posterize(image, max(1, int(bits))), 0, 4, False),
    "Solarize": (lambda image, level: ImageOps.solarize(image, ceil(level)), 0, 256, False),
    "SolarizeAdd": (_solarize_add, 0, 110, False),
    "Color": (lambda image, factor: ImageEnhance.Color(image).enhance(factor), 0.1, 1.9, False),
    "Contrast": (lambda image, factor: ImageEnhance.Contrast(image).enhance(factor), 0.1, 1.9, False),
    "Brightness": (lambda image, factor: ImageEnhance.Brightness(image).enhance(factor), 0.1, 1.9, False),
    "Sharpness": (lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor), 0.1, 1.9, False),
    "ShearX": (lambda image, part: _affine(image, 1, part, 0, 0, 1, 0), 0, 0.3, True),
    "ShearY": (lambda image, part: _affine(image, 1, 0, 0, part, 1, 0), 0, 0.3, True),
    "TranslateXabs": (lambda image, pixels: _affine(image, 1, 0, pixels, 0, 1, 0), 0, 100, True),
    "TranslateYabs": (lambda image, pixels: _affine(image, 1, 0, 0, 0, 1, pixels), 0, 100, True),
}


def official_randaugment(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """An RGB image after two operations, drawn with replacement."""
    names = list(OPERATIONS)
    for number in generator.integers(len(names), size=_OPERATIONS_EACH).tolist():
        operation, low, high, signed = OPERATIONS[names[number]]
        value = low + (high - low) * _MAGNITUDE / _LARGEST
        image = operation(image, -value if signed and generator.random() < 0.5 else value)
    return image
