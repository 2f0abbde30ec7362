"""Augmentation: what each name does, and that nothing but the sample's generator decides."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_training.data.augmentation import OPERATIONS, Augment, official_randaugment
from lexlip_training.data.config import Augmentation

PREPROCESS = ImagePreprocessor(32, "center_crop", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NAMES: list[Augmentation] = ["timm_randaugment", "official_randaugment", "crop_flip", "none"]


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).resize((200, 150))


def test_timm_never_posterises_to_nothing(picture: Image.Image) -> None:
    augment = Augment("timm_randaugment", PREPROCESS, (0.4, 1.0))
    operation = next(one for one in augment._timm.ops if one.name == "PosterizeIncreasing")
    operation.prob, operation.magnitude, operation.magnitude_std = 1.0, 10, 0.0  # the largest
    augment._timm.ops, augment._timm.num_layers = [operation], 1
    assert torch.isfinite(augment(picture, np.random.default_rng(0))).all()


def augmented(name: Augmentation, picture: Image.Image, seed: int) -> Tensor:
    return Augment(name, PREPROCESS, (0.4, 1.0))(picture, np.random.default_rng(seed))


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_alone_decides(name: Augmentation, picture: Image.Image) -> None:
    random.seed(1)
    torch.manual_seed(1)
    first = [augmented(name, picture, seed) for seed in range(8)]
    random.seed(2)
    torch.manual_seed(2)
    state = random.getstate(), torch.get_rng_state()
    assert all(torch.equal(augmented(name, picture, seed), first[seed]) for seed in range(8))
    assert random.getstate() == state[0]
    assert torch.equal(torch.get_rng_state(), state[1])
    assert all(pixels.shape == (3, 32, 32) and pixels.dtype == torch.float32 for pixels in first)
    different = {pixels.numpy().tobytes() for pixels in first}
    assert len(different) == 1 if name == "none" else len(different) > 4


def test_none_is_what_the_model_is_used_with(picture: Image.Image) -> None:
    assert np.array_equal(augmented("none", picture, 0).numpy(), PREPROCESS(picture))


def applied(name: str, picture: Image.Image, sign: int = 1) -> np.ndarray:
    operation, low, high, _ = OPERATIONS[name]
    return np.asarray(operation(picture, sign * (low + (high - low) * 9 / 30)))


def test_quirks_of_the_official_magnitude(picture: Image.Image) -> None:
    before = np.asarray(picture)
    assert np.array_equal(applied("Posterize", picture), before & 0x80)  # one bit
    assert np.array_equal(applied("Solarize", picture), np.where(before < 76.8, before, 255 - before))
    added = np.minimum(before.astype(int) + 33, 255)
    assert np.array_equal(applied("SolarizeAdd", picture), np.where(added < 128, added, 255 - added))
    assert abs(applied("Brightness", picture).mean() / before.mean() - 0.64) < 0.01
    moved = applied("TranslateXabs", picture)
    assert np.array_equal(moved[:, :-30], before[:, 30:])
    assert not moved[:, -30:].any()
    assert np.array_equal(applied("TranslateYabs", picture, -1)[30:], before[:-30])
    assert len(OPERATIONS) == 14


def test_official_operations_are_drawn_alike(picture: Image.Image) -> None:
    small = picture.resize((16, 12))
    generator = np.random.default_rng(0)
    assert all(official_randaugment(small, generator).mode == "RGB" for _ in range(60))
    signed = {name for name, (*_, sign) in OPERATIONS.items() if sign}
    assert signed == {"Rotate", "ShearX", "ShearY", "TranslateXabs", "TranslateYabs"}
