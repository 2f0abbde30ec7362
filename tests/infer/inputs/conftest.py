"""Image files made in memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def encode() -> Encode:
    """`encode(image, "PNG", **options)`: the bytes Pillow would write to a file."""
    return encoded


@pytest.fixture(scope="session")
def photograph() -> Image.Image:
    """48 x 31 pixels, no two alike, smooth enough for lossy formats, and nowhere near grey 128."""
    y, x = np.mgrid[0:31, 0:48]
    pixels = np.stack([x * 5, y * 8, 255 - x * 2 - y * 3], axis=2).astype(np.uint8)
    return Image.fromarray(pixels)
