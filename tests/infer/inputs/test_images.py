"""One image in, one RGB image out: modes, orientation, transparency, depth, and the kinds of source."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.images import load_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Encode = Callable[..., bytes]

# Filled with one value per mode, what the eye must see.
MODES = [
    ("1", 1, (255, 255, 255)),
    ("L", 70, (70, 70, 70)),
    ("LA", (70, 255), (70, 70, 70)),
    ("LA", (70, 0), (255, 255, 255)),
    ("La", (70, 255), (70, 70, 70)),
    ("PA", (3, 0), (255, 255, 255)),
    ("RGB", (1, 2, 3), (1, 2, 3)),
    ("RGBX", (1, 2, 3, 0), (1, 2, 3)),
    ("RGBA", (1, 2, 3, 255), (1, 2, 3)),
    ("RGBA", (1, 2, 3, 0), (255, 255, 255)),
    ("RGBA", (0, 100, 200, 128), (127, 177, 227)),
    ("RGBa", (0, 0, 0, 0), (255, 255, 255)),
    ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
    ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
    ("YCbCr", (76, 85, 255), (254, 0, 0)),
    ("HSV", (0, 255, 255), (255, 0, 0)),
    ("LAB", (255, 128, 128), (255, 255, 255)),
    ("I;16", 65535, (255, 255, 255)),
    ("I;16", 128 * 257, (128, 128, 128)),
    ("I;16B", 128 * 257, (128, 128, 128)),
    ("I", 128 * 257, (128, 128, 128)),
    ("I", 0, (0, 0, 0)),
    ("I", 65535, (255, 255, 255)),
]


@pytest.mark.parametrize(("mode", "value", "seen"), MODES)
def test_every_mode(mode: str, value: Any, seen: tuple[int, int, int]) -> None:
    image = load_image(Image.new(mode, (3, 2), value))
    assert (image.mode, image.size) == ("RGB", (3, 2))
    # Colour management may be a level or two off.
    np.testing.assert_allclose(np.asarray(image, int), np.full((2, 3, 3), seen), atol=2 if mode == "LAB" else 1)


@pytest.mark.parametrize(("mode", "value"), [("I", -1), ("I", 65536), ("F", 70.0), ("F", 0.5), ("F", float("nan"))])
def test_numbers_without_a_defined_range(mode: str, value: float, encode: Encode) -> None:
    image = Image.new(mode, (3, 2), value)
    for source in (image, encode(image, "TIFF")):
        with pytest.raises(ImageError, match="no defined range; save it with 8 or 16 bits"):
            load_image(source)


class TestOrientation:
    # Where each tag says the stored first row and first column are seen (EXIF 2.3, table 6).
    SEEN = (
        (1, lambda pixels: pixels),
        (2, lambda pixels: pixels[:, ::-1]),
        (3, lambda pixels: pixels[::-1, ::-1]),
        (4, lambda pixels: pixels[::-1]),
        (5, lambda pixels: pixels.swapaxes(0, 1)),
        (6, lambda pixels: pixels.swapaxes(0, 1)[:, ::-1]),
        (7, lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1]),
        (8, lambda pixels: pixels.swapaxes(0, 1)[::-1]),
    )

    @pytest.mark.parametrize(("tag", "turned"), SEEN)
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
    def test_pixels_are_turned(
        self, photograph: Image.Image, encode: Encode, kind: str, tag: int, turned: Callable[[Any], Any]
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = tag
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encode(photograph, kind, exif=exif, **options)
        expected = np.asarray(Image.open(io.BytesIO(encode(photograph, kind, **options))).convert("RGB"))
        np.testing.assert_array_equal(np.asarray(load_image(data)), turned(expected))

    @pytest.mark.parametrize("tag", [0, 9, 65535])
    def test_unknown_tags_are_passed_over(self, photograph: Image.Image, encode: Encode, tag: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = tag
        assert load_image(encode(photograph, "PNG", exif=exif)).tobytes() == photograph.tobytes()

    @pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff"])
    @pytest.mark.parametrize("kind", ["PNG", "JPEG"])
    def test_damaged_exif_is_not_a_damaged_image(
        self, photograph: Image.Image, encode: Encode, kind: str, exif: bytes
    ) -> None:
        assert load_image(encode(photograph, kind, exif=exif)).size == photograph.size

    def test_huge_exif(self, photograph: Image.Image, encode: Encode) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        exif[0x010E] = "x" * 60_000
        assert load_image(encode(photograph, "JPEG", exif=exif)).size == (31, 48)
        exif[0x010E] = "x" * 2_000_000
        assert load_image(encode(photograph, "PNG", exif=exif)).size == (31, 48)


class TestTransparency:
    def test_palette_with_a_transparent_entry(self, encode: Encode) -> None:
        image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
        image.putpalette([10, 20, 30, 40, 50, 60])
        for kind in ("PNG", "GIF"):
            pixels = np.asarray(load_image(encode(image, kind, transparency=1)))
            np.testing.assert_array_equal(pixels[0], [[10, 20, 30], [255, 255, 255]])
            np.testing.assert_array_equal(np.asarray(load_image(encode(image, kind)))[0, 1], [40, 50, 60])

    def test_palette_with_partial_alpha(self, encode: Encode) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([0, 100, 200])
        pixels = np.asarray(load_image(encode(image, "PNG", transparency=b"\x80")))
        np.testing.assert_allclose(pixels[0, 0], [127, 177, 227], atol=1)

    def test_colour_key(self, encode: Encode) -> None:
        image = Image.fromarray(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8))
        pixels = np.asarray(load_image(encode(image, "PNG", transparency=(1, 2, 3))))
        np.testing.assert_array_equal(pixels[0], [[255, 255, 255], [1, 2, 4]])
        grey = np.asarray(load_image(encode(image.getchannel(2), "PNG", transparency=3)))
        np.testing.assert_array_equal(grey[0], [[255] * 3, [4] * 3])

    def test_alpha_is_blended(self, encode: Encode) -> None:
        alpha = Image.linear_gradient("L")
        image = Image.new("RGB", alpha.size, (200, 0, 100))
        image.putalpha(alpha)
        opacity = np.asarray(alpha, float)[:, :, None] / 255
        expected = opacity * (200, 0, 100) + (1 - opacity) * 255
        np.testing.assert_allclose(np.asarray(load_image(encode(image, "PNG"))), expected, atol=1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_greys_are_scaled(encode: Encode, kind: str) -> None:
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    pixels = np.asarray(load_image(encode(Image.fromarray(grey), kind)))
    np.testing.assert_array_equal(pixels[:, :, 1].ravel(), np.arange(256))
    below = np.asarray(load_image(encode(Image.fromarray(np.maximum(grey, 1) - np.uint16(1)), kind)))
    np.testing.assert_array_equal(below[:, :, 1].ravel(), np.maximum(np.arange(256), 1) - 1)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(encode: Encode, kind: str) -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert load_image(data).getcolors() == [(20, (255, 0, 0))]


class TestSources:
    def test_file_names_do_not_matter(self, photograph: Image.Image, encode: Encode, tmp_path: Path) -> None:
        for name in ("really a png.jpg", "no suffix", "text.txt", "é\n.gif"):
            (tmp_path / name).write_bytes(encode(photograph, "PNG"))
            assert load_image(tmp_path / name) == load_image(str(tmp_path / name)) == photograph

    def test_array(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
        for array in (pixels, pixels[:, ::-1], pixels[::2, 1:]):
            np.testing.assert_array_equal(np.asarray(load_image(array)), array)

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [((4, 4, 3), float), ((4, 4), np.uint8), ((3, 4, 4), np.uint8), ((4, 0, 3), np.uint8), ((), np.uint8)],
    )
    def test_wrong_array(self, shape: tuple[int, ...], dtype: Any) -> None:
        with pytest.raises(ImageError, match=r"expected \(height, width, 3\) uint8"):
            load_image(np.zeros(shape, dtype))

    def test_a_pillow_image_is_not_changed(self) -> None:
        image = Image.new("RGBA", (3, 3), (9, 9, 9, 9))
        image.getexif()[0x0112] = 6
        before = image.copy()
        load_image(image).putpixel((0, 0), (1, 1, 1))
        assert image == before
        rgb = Image.new("RGB", (2, 2))
        load_image(rgb).putpixel((0, 0), (1, 1, 1))
        assert rgb.getpixel((0, 0)) == (0, 0, 0)

    def test_an_open_but_damaged_pillow_image(self, photograph: Image.Image, encode: Encode) -> None:
        data = encode(photograph, "PNG")
        with (
            Image.open(io.BytesIO(data[: len(data) // 2])) as image,
            pytest.raises(ImageError, match="the given image: damaged"),
        ):
            load_image(image)

    @pytest.mark.parametrize("source", [None, 3, ["a.jpg"], bytearray(b"x")])
    def test_no_source_at_all(self, source: Any) -> None:
        with pytest.raises(ImageError, match=f"not {type(source).__name__}"):
            load_image(source)

    def test_places_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "loop.jpg").symlink_to("loop.jpg")
        (tmp_path / "folder.jpg").mkdir()
        for name in ("absent.jpg", "loop.jpg", "x" * 300):
            with pytest.raises(ImageError, match=rf"{name}: cannot be read \(\w"):
                load_image(tmp_path / name)
        with pytest.raises(ImageError, match=r"folder\.jpg: is a folder; expected a regular file"):
            load_image(tmp_path / "folder.jpg")
        for path in ("", "a\0.jpg"):
            with pytest.raises(ImageError, match=r"cannot be read|not a file name"):
                load_image(path)

    def test_a_pipe_is_refused_without_waiting_for_a_writer(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "b.jpg")
        for path in (tmp_path / "b.jpg", "/dev/zero"):
            with pytest.raises(ImageError, match=rf"^{path}: is a .*; expected a regular file"):
                load_image(path)

    def test_not_an_image(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.jpg"
        path.write_text("these are notes")
        with pytest.raises(ImageError, match=r"notes\.jpg: not an image; read are AVIF, .* files"):
            load_image(path)
        path.write_bytes(b"")
        with pytest.raises(ImageError, match=r"notes\.jpg: the file is empty"):
            load_image(path)
        with pytest.raises(ImageError, match="the given bytes: the file is empty"):
            load_image(b"")

    @pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "PCX", "TGA"])
    def test_formats_that_are_no_photographs(self, photograph: Image.Image, encode: Encode, kind: str) -> None:
        with pytest.raises(ImageError, match="not an image"):
            load_image(encode(photograph, kind))
