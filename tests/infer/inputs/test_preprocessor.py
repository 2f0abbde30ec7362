"""ImagePreprocessor: numbers against plain numpy, geometry against the rule of the official pipeline."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lexlip_infer.inputs.preprocessing import ImagePreprocessor

MEAN, STD = (0.481, 0.457, 0.408), (0.268, 0.261, 0.275)
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

Resize = Literal["squash", "center_crop"]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def smooth(width: int, height: int) -> Image.Image:
    return noise(5, 4).resize((width, height), Image.Resampling.BICUBIC)


def resize_then_crop(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """torchvision's Resize(size, bicubic) and CenterCrop(size) on a Pillow image.

    Resize: the short side becomes `size`, the long one int(size * long / short). CenterCrop: offsets are
    int(round((side - size) / 2.0)), Python's round, halves to even.
    """
    short, long = sorted(image.size)
    new_long = int(size * long / short)
    width, height = (size, new_long) if image.width <= image.height else (new_long, size)
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("resize", ["squash", "center_crop"])
def test_values_without_resizing(resize: Resize) -> None:
    image = noise(16, 16)
    pixels = ImagePreprocessor(16, resize, MEAN, STD)(image)
    assert pixels.dtype == np.float32
    assert pixels.shape == (3, 16, 16)
    assert pixels.flags.c_contiguous
    expected = (np.asarray(image, np.float64) / 255 - MEAN) / STD
    np.testing.assert_allclose(pixels, expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-6)


def test_channels_rows_and_columns_keep_their_places() -> None:
    array = np.zeros((8, 8, 3), np.uint8)
    array[1, 6] = (255, 0, 0)
    array[2, 5] = (0, 0, 255)
    pixels = ImagePreprocessor(8, "squash", *PLAIN)(Image.fromarray(array))
    assert [tuple(place) for place in np.argwhere(pixels)] == [(0, 1, 6), (2, 2, 5)]


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (7, 90), (5, 5), (1, 1)])
def test_squash_is_pillows_antialiased_bicubic(size: tuple[int, int]) -> None:
    image = noise(*size)
    pixels = ImagePreprocessor(16, "squash", *PLAIN)(image)
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC), np.float32) / 255
    np.testing.assert_array_equal(pixels, expected.transpose(2, 0, 1))


@settings(max_examples=150, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), size=st.integers(1, 40))
@example(width=640, height=480, size=224)
@example(width=333, height=500, size=224)
@example(width=101, height=64, size=33)
@example(width=49, height=50, size=35)
def test_center_crop_is_resize_then_crop(width: int, height: int, size: int) -> None:
    image = smooth(width, height)
    pixels = ImagePreprocessor(size, "center_crop", *PLAIN)(image)
    expected = resize_then_crop(image, size).transpose(2, 0, 1)
    # Pillow rounds to 8 bits between its two passes, whose order differs with the box: a few levels, no shift.
    np.testing.assert_allclose(pixels * 255, expected, atol=4.001)


@pytest.mark.parametrize("size", [(97, 50), (50, 97), (96, 50), (50, 103)])
def test_center_crop_is_not_a_pixel_off(size: tuple[int, int]) -> None:
    image = noise(*size)
    pixels = ImagePreprocessor(50, "center_crop", *PLAIN)(image)  # no scaling: any shift shows in full
    np.testing.assert_array_equal(
        np.rint(pixels * 255).astype(np.uint8), resize_then_crop(image, 50).transpose(2, 0, 1)
    )


@pytest.mark.parametrize("resize", ["squash", "center_crop"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 100_000), (3, 2)])
def test_extreme_shapes(resize: Resize, size: tuple[int, int]) -> None:
    pixels = ImagePreprocessor(64, resize, *PLAIN)(Image.new("RGB", size, (51, 102, 204)))
    assert pixels.shape == (3, 64, 64)
    np.testing.assert_allclose(pixels, np.broadcast_to([[[0.2]], [[0.4]], [[0.8]]], pixels.shape), atol=1e-6)
