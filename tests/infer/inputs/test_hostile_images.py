"""Every file that should have been an image and is not quite one, in one folder, read as a run would read it.

Each usable picture is drawn in a grey of its own, so that a picture under another's id would be seen.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.image_options import ImageOptions
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.items import ImageItem
from lexlip_infer.inputs.preprocessing import ImagePreprocessor, decode_images
from lexlip_infer.inputs.readers import open_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Encode = Callable[..., bytes]

#: Modes that hold a plain grey, and formats that can write them.
MODES = [
    *[("L", kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")],
    *[("RGB", kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")],
    *[("RGBA", kind) for kind in ("PNG", "GIF", "TIFF", "WEBP", "JPEG2000", "AVIF")],
    *[("LA", kind) for kind in ("PNG", "TIFF", "JPEG2000")],
    *[("P", kind) for kind in ("PNG", "GIF", "BMP", "TIFF")],
    *[("CMYK", kind) for kind in ("JPEG", "TIFF")],
    *[("YCbCr", kind) for kind in ("JPEG", "TIFF")],
    ("I;16", "PNG"),
    ("I;16", "TIFF"),
]
SIZES = [(1, 1), (1, 2), (2, 1), (20_000, 1), (1, 20_000), (3, 7_000), (17, 19)]
REFUSED = "refused"


def drawn(level: int, mode: str, size: tuple[int, int] = (24, 16)) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.full(size[::-1], level * 257, np.uint16))
    return Image.new("L", size, level).convert("RGB").convert(mode)


def jpeg_with_nested_junk(level: int, encode: Encode) -> bytes:
    """EXIF that points to itself, that holds a thumbnail that is another JPEG with EXIF, and segments of noise."""
    inner = encode(drawn(255 - level, "RGB"), "JPEG", exif=b"Exif\0\0II*\0" + struct.pack("<IH", 8, 65535))
    loop = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    data = encode(drawn(level, "RGB"), "JPEG")
    segments = b""
    for number, body in enumerate(
        (loop, b"Exif\0\0" + inner, bytes(range(256)) * 9, b"http://ns.adobe.com/xap/1.0/\0<x")
    ):
        segments += b"\xff" + bytes([0xE1 + number % 2]) + struct.pack(">H", len(body) + 2) + body
    return data[:2] + segments + data[2:]


def bomb(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes(5_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb(level: int, encode: Encode) -> bytes:
    """A small picture with a description a thousand times its size."""
    body = b"Comment\0\0" + zlib.compress(bytes(5_000_000), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    data = encode(drawn(level, "L"), "PNG")
    return data[:33] + chunk + data[33:]


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (128, 128, 3), np.uint8))


def usable(encode: Encode) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Name, and the file for a level of grey."""
    for mode, kind in MODES:
        name = f"{mode.replace(';', '')}-{kind}.jpg"  # most are mislabelled by that
        yield name, lambda level, mode=mode, kind=kind: encode(drawn(level, mode), kind)
    for width, height in SIZES:
        yield f"{width}x{height}.png", lambda level, size=(width, height): encode(drawn(level, "L", size), "PNG")
    yield "nested.jpg", lambda level: jpeg_with_nested_junk(level, encode)
    yield "trailing.jpg", lambda level: encode(drawn(level, "RGB"), "JPEG") + b"PK\x03\x04" + bytes(5000)
    yield "two in one.jpg", lambda level: encode(drawn(level, "RGB"), "JPEG") + encode(noise(0), "JPEG")
    yield "long name " + "x" * 200 + ".png", lambda level: encode(drawn(level, "L"), "PNG")
    yield "line\nfeed.png", lambda level: encode(drawn(level, "L"), "PNG")
    yield "日本 é 🐕.png", lambda level: encode(drawn(level, "L"), "PNG")


def unusable(encode: Encode) -> dict[str, bytes]:
    files = {
        "empty.jpg": b"",
        "one byte.jpg": b"\xff",
        "text.jpg": b"this is a text\n" * 100,
        "page.png": b"<!DOCTYPE html><title>404 Not Found</title>",
        "zeros.png": bytes(10_000),
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "pdf.jpg": encode(drawn(9, "RGB"), "PDF"),
        "eps.jpg": encode(drawn(9, "RGB"), "EPS"),
        "ico.png": encode(drawn(9, "RGB"), "ICO"),
        "zip.jpg": b"PK\x05\x06" + bytes(18),
        "magic jpeg.jpg": b"\xff\xd8\xff\xe0",
        "magic png.png": b"\x89PNG\r\n\x1a\n",
        "magic gif.gif": b"GIF89a",
        "magic webp.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "magic tiff.tif": b"II*\0\x08\0\0\0",
        "magic bmp.bmp": b"BM" + bytes(52),
        "magic avif.avif": b"\0\0\0\x1cftypavif" + bytes(16),
        "magic jp2.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30),
        "bomb.png": bomb(60_000, 60_000),
        "bomb gif.gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
        "float.tif": encode(Image.new("F", (4, 4), 0.5), "TIFF"),
        "32 bit.tif": encode(Image.new("I", (4, 4), 10**6), "TIFF"),
        "no width.bmp": encode(drawn(9, "RGB"), "BMP")[:18] + bytes(8) + encode(drawn(9, "RGB"), "BMP")[26:],
    }
    for kind in ("JPEG", "PNG", "GIF", "WEBP"):
        data = encode(noise(1), kind)
        for kilobyte in range(1024, len(data) - 1024, 1024):
            files[f"{kind} cut at {kilobyte:05}.jpg"] = data[:kilobyte]
    return files


@pytest.fixture(scope="module")
def collection(encode: Encode, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int | str]]:
    """A folder, and of each file its grey, or that it has to be refused."""
    root = tmp_path_factory.mktemp("hostile")
    expected: dict[str, int | str] = dict.fromkeys(unusable(encode), REFUSED)
    for name, data in unusable(encode).items():
        (root / name).write_bytes(data)
    for number, (name, make) in enumerate(usable(encode)):
        level = 20 + 4 * number
        (root / name).write_bytes(make(level))
        expected[name] = level
    return root, expected


def test_there_are_many(collection: tuple[Path, dict[str, int | str]]) -> None:
    _, expected = collection
    assert sum(level != REFUSED for level in expected.values()) >= 45
    assert sum(level == REFUSED for level in expected.values()) >= 60
    assert max(level for level in expected.values() if isinstance(level, int)) < 256


def test_each_is_its_own_picture_or_one_line_of_error(collection: tuple[Path, dict[str, int | str]]) -> None:
    root, expected = collection
    items = [item for item in open_images([str(root)]) if isinstance(item, ImageItem)]
    assert [item.id for item in items] == sorted(expected)
    preprocess = ImagePreprocessor(2, "squash", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    results = decode_images((item.source for item in items), preprocess, workers=3, ahead=9)
    for item, result in zip(items, results, strict=True):
        if isinstance(result, ImageError):
            assert expected[item.id] == REFUSED, f"{item.id!r}: {result}"
            assert len(str(result).removeprefix(item.origin).splitlines()) == 1
        else:
            level = expected[item.id]
            assert level != REFUSED, f"{item.id!r} was taken for a picture"
            np.testing.assert_allclose(result, float(level) / 255, atol=4 / 255, err_msg=repr(item.id))


def test_a_compressed_description_is_not_unpacked(encode: Encode) -> None:
    with pytest.raises(ImageError, match="too large"):
        load_image(text_bomb(80, encode))


@pytest.mark.parametrize(("mode", "kind"), MODES)
def test_every_single_flipped_bit_of_a_header(mode: str, kind: str, encode: Encode) -> None:
    data = encode(drawn(90, mode), kind)
    for position in range(min(len(data), 64)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        outcome = decoded(bytes(damaged), options=ImageOptions(max_megapixels=1))
        assert outcome is None or (outcome.mode == "RGB" and min(outcome.size) > 0)


def decoded(data: bytes, **options: Any) -> Image.Image | None:
    try:
        return load_image(data, **options)
    except ImageError:
        return None


def test_nothing_is_printed_and_no_state_is_left(
    collection: tuple[Path, dict[str, int | str]], capfd: pytest.CaptureFixture[str]
) -> None:
    from PIL import ImageFile

    root, _ = collection
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN))
    for path in sorted(root.iterdir()):
        decoded(path.read_bytes())
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, sorted(Image.OPEN)) == before
    assert capfd.readouterr().out == ""


def test_pillow_can_draw_what_we_drew(encode: Encode) -> None:
    """The files are what their names say: otherwise the tests above would test less than they seem to."""
    for mode, kind in MODES:
        with Image.open(io.BytesIO(encode(drawn(90, mode), kind))) as image:
            assert image.format == kind
