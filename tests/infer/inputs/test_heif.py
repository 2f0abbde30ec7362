"""HEIF through its extra: decoded without registering anything, and refused with the cure where it is missing."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.image_files import is_heif
from lexlip_infer.inputs.images import load_image

if TYPE_CHECKING:
    from collections.abc import Callable

    Encode = Callable[..., bytes]


@pytest.fixture(scope="module")
def heic(photograph: Image.Image) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    file = BytesIO()
    pillow_heif.from_pillow(photograph).save(file, quality=95)
    return file.getvalue()


def test_is_decoded_and_pillow_does_not_know_it_afterwards(heic: bytes, photograph: Image.Image) -> None:
    image = load_image(heic)
    assert image.size == photograph.size
    assert np.abs(np.asarray(image, int) - np.asarray(photograph)).mean() < 6
    assert "HEIF" not in Image.OPEN


def test_damaged(heic: bytes) -> None:
    for length in (12, 40, 200, len(heic) // 2, len(heic) - 10):
        with pytest.raises(ImageError, match=r"not an image|damaged image"):
            load_image(heic[:length])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(sys.modules, "pillow_heif.as_plugin", raising=False)
    with pytest.raises(ImageError, match=r"the given bytes: pillow_heif.*pip install 'lexlip-infer\[heif\]'"):
        load_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", False),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", False),
        (b"\0\0\0\x18ftyp", False),
        (b"\xff\xff\xff\xffftypmif1\0\0\0\0" + b"x" * 1000, False),
        (b"", False),
    ],
)
def test_is_heif(start: bytes, expected: bool) -> None:
    assert is_heif(start) is expected


def test_avif_is_pillows(photograph: Image.Image, encode: Encode) -> None:
    assert load_image(encode(photograph, "AVIF")).size == photograph.size
