"""Damaged image files: an RGB picture or an ImageError in one line, within ten seconds, whatever the damage."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.frames import Frame, count_frames
from lexlip_infer.inputs.image_options import ImageOptions
from lexlip_infer.inputs.images import load_image, truncation

#: A small limit, so that a flipped bit in a size does not cost half a gigabyte.
OPTIONS = [ImageOptions(max_megapixels=1, truncated="fail"), ImageOptions(max_megapixels=1, truncated="accept")]


def files() -> dict[str, bytes]:
    picture = Image.radial_gradient("L").resize((40, 30)).convert("RGB")
    picture.putpixel((3, 3), (255, 0, 9))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    several = {"save_all": True, "append_images": [picture.rotate(90 * i) for i in range(3)]}
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", picture, {"exif": exif, "icc_profile": profile}),
        ("JPEG", picture, {"progressive": True}),
        ("JPEG", picture.convert("CMYK"), {}),
        ("PNG", picture, {"icc_profile": profile}),
        ("PNG", picture.quantize(16), {"transparency": 3}),
        ("PNG", picture.convert("1"), {}),
        ("PNG", picture, several),
        ("GIF", picture, several),
        ("BMP", picture, {}),
        ("TIFF", picture, {}),
        ("TIFF", picture, {"compression": "tiff_deflate"}),
        ("TIFF", picture.convert("1"), {"compression": "group4"}),
        ("WEBP", picture, {"lossless": True}),
        ("WEBP", picture, several),
        ("PPM", picture, {}),
        ("JPEG2000", picture, {}),
        ("AVIF", picture, {}),
    ]
    result = {}
    for kind, image, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        result[f"{len(result):02} {kind}"] = file.getvalue()
    return result


FILES = files()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, 200) | st.integers(0, len(data))) % (len(data) + 1)
        what = draw(st.sampled_from(["flip", "set", "cut", "insert", "remove", "repeat"]))
        if what == "flip" and place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif what == "set":
            new = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]))
            data[place : place + 4] = new
        elif what == "cut":
            del data[place:]
        elif what == "insert":
            data[place:place] = draw(st.binary(max_size=20))
        elif what == "remove":
            del data[place : place + draw(st.integers(1, 40))]
        else:
            data[place:place] = data[place : place + 100]
    return bytes(data)


def examine(data: bytes, options: ImageOptions, limited: Any) -> None:
    with limited():
        try:
            image = load_image(data, options)
        except ImageError:
            return
    assert image.mode == "RGB"
    assert 0 < image.width * image.height <= 1_000_000
    assert image.info in ({}, {"truncated": truncation(image)})


@settings(deadline=None)
@given(data=damaged(), options=st.sampled_from(OPTIONS))
def test_damaged_files(data: bytes, options: ImageOptions, limited: Any) -> None:
    examine(data, options, limited)


@settings(deadline=None)
@given(start=st.sampled_from([data[:24] for data in FILES.values()]), rest=st.binary(max_size=600))
def test_noise_behind_a_true_beginning(start: bytes, rest: bytes, limited: Any) -> None:
    examine(start + rest, OPTIONS[1], limited)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise(limited: Any, data: bytes) -> None:
    examine(data or b"x", OPTIONS[0], limited)


@settings(deadline=None)
@given(data=damaged())
def test_frames_of_damaged_animations(data: bytes, limited: Any) -> None:
    with limited():
        count = count_frames(data)
        assert count >= 1
        for number in (0, 1, min(count - 1, 50), count):
            try:
                image = load_image(Frame(data, number), OPTIONS[0])
            except ImageError:
                continue
            assert image.mode == "RGB"


heif = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("pillow_heif"), reason="the extra heif is not installed"
)


@heif
@settings(deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255), length=st.none() | st.integers(0, 10_000))
def test_damaged_heif(place: int, value: int, length: int | None, limited: Any) -> None:
    import pillow_heif

    file = io.BytesIO()
    if "heif" not in FILES:
        pillow_heif.from_pillow(Image.radial_gradient("L").resize((40, 30)).convert("RGB")).save(file)
        FILES["heif"] = file.getvalue()
    data = bytearray(FILES["heif"])
    data[place % len(data)] = value
    examine(bytes(data[:length]) or b"x", OPTIONS[0], limited)
