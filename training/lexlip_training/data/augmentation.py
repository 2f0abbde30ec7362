"""From an RGB image to a training example's pixels.

The last step is always the preprocessing that the model is used with, so that only the augmentation differs between
training and use.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.transforms import RandomResizedCropAndInterpolation
from torch import Tensor

from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_training.data.config import Augmentation
from lexlip_training.data.official_randaugment import official_randaugment
from lexlip_training.data.randomness import libraries_seeded

__all__ = ["TIMM_RANDAUGMENT", "Augment"]

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


def _unchanged(image: Image.Image, generator: np.random.Generator) -> Image.Image:  # noqa: ARG001  (one signature)
    return image
