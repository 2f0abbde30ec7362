"""ICC profiles: what a person would see is what is encoded, and a profile that changes nothing changes no bit."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageCms

from lexlip_infer.inputs.images import load_image

if TYPE_CHECKING:
    from collections.abc import Callable

    Encode = Callable[..., bytes]

#: Columns of the matrix to the profile connection space (XYZ at D50): sRGB's, and Adobe RGB (1998)'s.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2, of a display device."""
    white = xyz((0.9642, 1.0, 0.8249))
    text = b"text\0\0\0\0made by a test\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": name, b"cprt": text, b"wtpt": white, **tags}
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + white[8:] + bytes(48)
    return header[:128].ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def rgb_profile(primaries: tuple[tuple[float, float, float], ...], exponent: float) -> bytes:
    curve = gamma(exponent)
    tags = {tag: xyz(primary) for tag, primary in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return profile(b"RGB ", tags | {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


ADOBE = rgb_profile(ADOBE_RGB, 2.19921875)
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LINEAR_GREY = profile(b"GRAY", {b"kTRC": gamma(1.0)})


@pytest.fixture(scope="module")
def muted() -> Image.Image:
    """Colours well inside both gamuts."""
    y, x = np.mgrid[0:16, 0:16]
    return Image.fromarray(np.stack([80 + 5 * x, 90 + 5 * y, 120 + 2 * (x + y)], axis=2).astype(np.uint8))


def by_hand(adobe: np.ndarray) -> np.ndarray:
    """Adobe RGB to sRGB from the definitions of both."""
    linear = (adobe / 255) ** 2.19921875
    rgb = linear @ (np.linalg.inv(np.array(SRGB).T) @ np.array(ADOBE_RGB).T).T
    encoded = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * np.maximum(rgb, 1e-9) ** (1 / 2.4) - 0.055)
    return np.clip(encoded * 255, 0, 255)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_adobe_rgb_becomes_srgb(kind: str, muted: Image.Image, encode: Encode) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    plain = np.asarray(load_image(encode(muted, kind, **options)))
    converted = np.asarray(load_image(encode(muted, kind, icc_profile=ADOBE, **options)))
    np.testing.assert_allclose(converted, by_hand(plain), atol=2)
    assert np.abs(converted.astype(int) - plain).max() > 10


@pytest.mark.parametrize("data", [SRGB_PROFILE, rgb_profile(SRGB, 2.2)], ids=["lcms", "primaries and gamma 2.2"])
def test_srgb_in_any_spelling_changes_no_bit(data: bytes, muted: Image.Image, encode: Encode) -> None:
    if data is SRGB_PROFILE:
        assert load_image(encode(muted, "PNG", icc_profile=data)).tobytes() == muted.tobytes()
    else:  # a pure power differs from sRGB's curve in the darks, and is another space
        result = np.asarray(load_image(encode(muted, "PNG", icc_profile=data)), int)
        assert 0 < np.abs(result - np.asarray(muted)).max() < 8


def test_alpha_is_kept(muted: Image.Image, encode: Encode) -> None:
    clear = muted.copy()
    clear.putalpha(0)
    assert load_image(encode(clear, "PNG", icc_profile=ADOBE)).getcolors() == [(256, (255, 255, 255))]
    opaque = muted.copy()
    opaque.putalpha(255)
    expected = np.asarray(load_image(encode(muted, "PNG", icc_profile=ADOBE)))
    np.testing.assert_array_equal(np.asarray(load_image(encode(opaque, "PNG", icc_profile=ADOBE))), expected)


def test_palettes_have_colours_too(muted: Image.Image, encode: Encode) -> None:
    palette = muted.quantize(16)
    expected = np.asarray(load_image(encode(palette.convert("RGB"), "PNG", icc_profile=ADOBE)))
    np.testing.assert_array_equal(np.asarray(load_image(encode(palette, "PNG", icc_profile=ADOBE))), expected)


def test_grey(encode: Encode) -> None:
    grey = Image.new("L", (4, 4), 128)
    level = np.asarray(load_image(encode(grey, "PNG", icc_profile=LINEAR_GREY)))
    np.testing.assert_allclose(level, 255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055), atol=2)


@pytest.mark.parametrize(
    "data", [b"no profile", ADOBE[:200], b"\0" * 200, LINEAR_GREY, SRGB_PROFILE[:300] + bytes(300)]
)
def test_unusable_profiles_are_passed_over(data: bytes, muted: Image.Image, encode: Encode) -> None:
    assert load_image(encode(muted, "PNG", icc_profile=data)).tobytes() == muted.tobytes()


class TestCmyk:
    def test_without_a_profile(self, encode: Encode) -> None:
        cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
        for kind in ("TIFF", "JPEG"):
            np.testing.assert_allclose(np.asarray(load_image(encode(cyan, kind)))[0, 0], (0, 255, 255), atol=2)

    def test_with_one(self, encode: Encode) -> None:
        inks = cmyk_profile()
        image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
        for kind in ("TIFF", "JPEG"):
            pixel = load_image(encode(image, kind, icc_profile=inks)).getpixel((0, 0))
            np.testing.assert_allclose(pixel, (255, 255, 255), atol=2)

    def test_an_rgb_profile_in_a_cmyk_file(self, encode: Encode) -> None:
        cyan = encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "TIFF", icc_profile=ADOBE)
        assert load_image(cyan).getpixel((0, 0)) == (0, 255, 255)


def cmyk_profile() -> bytes:
    """Three inks that cannot be seen, and a black one."""
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    table += b"".join(map(fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table += bytes(range(256)) * 4 + bytes([255, 128, 128, 0, 128, 128]) * 8 + bytes(range(256)) * 3
    data = profile(b"CMYK", {b"A2B0": table, b"A2B1": table, b"A2B2": table})
    return data[:12] + b"prtr" + data[16:20] + b"Lab " + data[24:]


def test_profiles_are_built_as_meant() -> None:
    for data, space in ((ADOBE, "RGB"), (LINEAR_GREY, "GRAY"), (cmyk_profile(), "CMYK")):
        assert ImageCms.ImageCmsProfile(io.BytesIO(data)).profile.xcolor_space.strip() == space
