"""Files that are cut, flipped, oversized or decoded side by side: an RGB image or an ImageError, never a third thing.

Warnings are errors in this test run, so a warning that leaves Pillow would turn good images into refused ones here.
"""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, features

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.image_files import silenced
from lexlip_infer.inputs.image_options import MAX_MEGAPIXELS
from lexlip_infer.inputs.images import load_image

if TYPE_CHECKING:
    from collections.abc import Callable

    Encode = Callable[..., bytes]

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"quality": 80}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "tiff lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "webp": ("WEBP", {}),
    "webp lossless": ("WEBP", {"lossless": True}),
    "ppm": ("PPM", {}),
    "jpeg 2000": ("JPEG2000", {}),
}
if features.check("avif"):
    KINDS["avif"] = ("AVIF", {})


@pytest.fixture(scope="session")
def files(photograph: Image.Image, encode: Encode) -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    data = {name: encode(photograph, kind, **options) for name, (kind, options) in KINDS.items()}
    data["jpeg with exif"] = encode(photograph, "JPEG", exif=exif)
    return data


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_file_is_an_error_or_the_whole_picture(files: dict[str, bytes], name: str) -> None:
    data = files[name]
    whole = load_image(data).tobytes()
    refused = 0
    for length in {*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))}:
        try:
            image = load_image(data[:length])
        except ImageError:
            refused += 1
        else:
            assert image.tobytes() == whole, f"{length} of {len(data)} bytes gave another picture"
    assert refused >= 50


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_file_is_called_damaged_not_foreign(files: dict[str, bytes], name: str) -> None:
    data = files[name]
    for percent in (10, 30, 60, 90):
        try:
            load_image(data[: max(32, len(data) * percent // 100)])
        except ImageError as error:
            refusal = str(error)
            assert "damaged" in refusal
            assert "not an image" not in refusal


def test_what_only_begins_like_an_image_is_said_to() -> None:
    with pytest.raises(ImageError, match="damaged image: it begins as TIFF files do, and its header cannot be read"):
        load_image(b"II*\0 and then comes a text that is no picture")
    with pytest.raises(ImageError, match="not an image"):
        load_image(b"a text")


def test_a_format_that_this_build_of_pillow_cannot_read(monkeypatch: pytest.MonkeyPatch, encode: Encode) -> None:
    data = encode(Image.new("RGB", (8, 8)), "WEBP")
    factory, _ = Image.OPEN["WEBP"]
    said = "image file could not be identified because WEBP support not installed"
    monkeypatch.setitem(Image.OPEN, "WEBP", (factory, lambda prefix: said if prefix[:4] == b"RIFF" else False))
    with pytest.raises(ImageError, match=said):
        load_image(data)


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_flipped_bytes(files: dict[str, bytes], data: st.DataObject) -> None:
    original = files[data.draw(st.sampled_from(sorted(files)))]
    damaged = bytearray(original)
    # Headers are where the surprises are, and are a small part of a file.
    anywhere = st.integers(0, len(original) - 1)
    near_either_end = st.integers(0, 150).map(lambda i: i % len(original))
    for position in data.draw(st.lists(near_either_end | anywhere, min_size=1, max_size=6)):
        damaged[position] = data.draw(st.integers(0, 255))
    try:
        image = load_image(bytes(damaged))
    except ImageError:
        return
    assert image.mode == "RGB"
    assert min(image.size) > 0


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def declared(kind: str, width: int, height: int) -> bytes:
    """A small file of this kind whose header declares another size."""
    if kind == "PNG":
        return png_header(width, height)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    data = bytearray(file.getvalue())
    if kind == "JPEG":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    elif kind == "BMP":
        struct.pack_into("<ii", data, 18, width, height)
    elif kind == "GIF":
        struct.pack_into("<HH", data, 6, width, height)
    elif kind == "WEBP":
        struct.pack_into("<I", data, 21, (width - 1) | (height - 1) << 14)
    elif kind == "PPM":
        data = data.replace(b"8 8", f"{width} {height}".encode(), 1)
    elif kind == "TIFF":
        for tag, value in ((256, width), (257, height)):
            place = data.index(struct.pack("<HH", tag, 4)) if struct.pack("<HH", tag, 4) in data else -1
            place = place if place >= 0 else data.index(struct.pack("<HH", tag, 3))
            struct.pack_into("<HHII", data, place, tag, 4, 1, value)
    return bytes(data)


# Each about 190 megapixels or more, within what the format can declare; the last are above Pillow's own limit too.
OVERSIZED = [
    ("PNG", 60_000, 60_000),
    ("PNG", 17_801, 10_001),
    ("JPEG", 17_801, 10_001),
    ("JPEG", 65_000, 65_000),
    ("BMP", 17_801, 10_001),
    ("BMP", 2**31 - 1, 2**31 - 1),
    ("GIF", 17_801, 10_001),
    ("GIF", 65_535, 65_535),
    ("WEBP", 16_383, 16_383),
    ("PPM", 17_801, 10_001),
    ("TIFF", 17_801, 10_001),
    ("TIFF", 2**20, 2**20),
]


@pytest.mark.parametrize(("kind", "width", "height"), OVERSIZED)
def test_too_many_pixels_are_refused_before_decoding(
    monkeypatch: pytest.MonkeyPatch, kind: str, width: int, height: int
) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    data = declared(kind, width, height)
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    tracemalloc.start()
    with pytest.raises(ImageError, match=f"more than {MAX_MEGAPIXELS} megapixels"):
        load_image(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_our_limit_holds_without_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageError, match=r"60000 x 60000 pixels, more than \d+ megapixels"):
        load_image(png_header(60_000, 60_000))


def test_large_but_allowed_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)  # from here to its double Pillow warns
    assert load_image(png_header(2, 2)).size == (2, 2)


class TestWarnings:
    def noisy(self, encode: Encode) -> bytes:
        # A description that claims to be longer than the file: Pillow warns and reads on.
        data = bytearray(encode(Image.new("RGB", (4, 4), "red"), "TIFF", tiffinfo={270: "a description"}))
        place = data.index(struct.pack("<HH", 270, 2))
        struct.pack_into("<I", data, place + 4, 10**6)
        return bytes(data)

    def test_the_file_is_noisy(self, encode: Encode) -> None:
        with pytest.warns(UserWarning, match="larger than file"), Image.open(io.BytesIO(self.noisy(encode))):
            pass

    def test_the_users_filters_are_untouched(self, encode: Encode) -> None:
        before = list(warnings.filters)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            image = load_image(self.noisy(encode))
        assert image.getcolors() == [(16, (255, 0, 0))]
        assert caught == []
        assert list(warnings.filters) == before

    def test_others_still_warn(self) -> None:
        with silenced(), pytest.warns(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)

    def test_filters_replaced_meanwhile(self) -> None:
        before = list(warnings.filters)
        with silenced(), warnings.catch_warnings():
            warnings.simplefilter("error")
            with silenced():
                assert warnings.filters[0][0] == "ignore"
            warnings.resetwarnings()
        assert list(warnings.filters) == before

    def test_eight_threads_over_noisy_and_damaged_files(self, files: dict[str, bytes], encode: Encode) -> None:
        noisy = self.noisy(encode)
        sources = [noisy, *files.values(), files["png"][:80]] * 25
        before = list(warnings.filters)
        with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as pool:
            warnings.simplefilter("always")
            results = list(pool.map(outcome, sources))
        assert caught == []
        assert list(warnings.filters) == before
        alone = [outcome(source) for source in sources[: len(files) + 2]]
        assert alone[0] is not None
        assert alone[-1] is None
        for result, expected in zip(results, alone * 25, strict=True):
            np.testing.assert_array_equal(result, expected)


def outcome(source: bytes) -> Any:
    try:
        return np.asarray(load_image(source))
    except ImageError:
        return None
