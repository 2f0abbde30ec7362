"""From an RGB image to a training example's pixels, and random draws that belong to a sample, not to a process.

The last step is always the preprocessing that the model is used with, so that only the augmentation differs between
training and use. Draws are the same whatever worker, rank or resumed run makes them.

`official_randaugment` is RandAugment with N = 2 and M = 9 of 30 as LexLIP was trained with it, quirks included: the
magnitude is fixed, so that posterising leaves one bit a channel (the most that its scale allows), colour, contrast,
brightness and sharpness always go down, to 0.64, and never up, solarising inverts above 76.8, and translations are up
to 30 pixels of the image before it is resized. Geometry takes a random sign; what it uncovers is black.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from math import ceil

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from timm.data.auto_augment import rand_augment_transform
from timm.data.transforms import RandomResizedCropAndInterpolation
from torch import Tensor

from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_training.data.config import Augmentation


class Purpose(IntEnum):
    """What is drawn; each purpose has a stream of its own, so that an option of one never moves another."""

    AUGMENTATION = 0
    MASKS = 1
    CAPTION = 2
    SUBSTITUTE = 3


def draws(seed: int, epoch: int, sample: int, purpose: Purpose) -> np.random.Generator:
    """The generator of one sample in one epoch."""
    return np.random.default_rng((seed, epoch, sample, purpose))


@contextmanager
def libraries_seeded(generator: np.random.Generator) -> Iterator[None]:
    """Let code that draws from the global generators (timm's does) draw from this one; they are put back afterwards."""
    seed = int(generator.integers(2**32))
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (what timm uses)
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


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


#: Two operations of magnitude 9 of 10, jittered a little; each takes place half of the time: timm's usual choice.
TIMM_RANDAUGMENT = "rand-m9-n2-mstd0.5-inc1"


class Augment:
    """An image and the generator of its sample to pixels (3, S, S), float32.

    Args:
        name: see `DataConfig.augmentation`.
        preprocess: of the model, to S pixels.
        crop_scale: see `DataConfig`.
    """

    def __init__(self, name: Augmentation, preprocess: ImagePreprocessor, crop_scale: tuple[float, float]) -> None:
        self._preprocess = preprocess
        self._change: Callable[[Image.Image, np.random.Generator], Image.Image]
        if name == "timm_randaugment":
            mean = tuple(round(255 * channel) for channel in preprocess.mean)
            self._timm = rand_augment_transform(TIMM_RANDAUGMENT, {"img_mean": mean})
            for operation in self._timm.ops:
                if operation.name == "PosterizeIncreasing":
                    operation.aug_fn = _posterize
            self._change = self._timm_change
        elif name == "crop_flip":
            self._timm = RandomResizedCropAndInterpolation(preprocess.size, scale=crop_scale, interpolation="bicubic")
            self._change = self._crop_flip
        else:
            self._change = official_randaugment if name == "official_randaugment" else _unchanged

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Tensor:
        """Augmented, resized and normalised."""
        return torch.from_numpy(self._preprocess(self._change(image, generator)))

    def _timm_change(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        with libraries_seeded(generator):
            changed: Image.Image = self._timm(image)
        return changed

    def _crop_flip(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        cropped = self._timm_change(image, generator)
        return cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if generator.random() < 0.5 else cropped


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """At its largest magnitude timm asks for no bits at all, which Pillow refuses."""
    return ImageOps.posterize(image, max(1, bits))


def _unchanged(image: Image.Image, generator: np.random.Generator) -> Image.Image:  # noqa: ARG001  (one signature)
    return image
