"""What Pillow reads of a TIFF wrongly, without an error, or not at all: told from the tags, and refused by its name.

TIFF leaves much open: any number of bits, signed numbers, floats, colours in planes of their own, white as zero. The
combinations below were compared with pictures whose files were written by hand (tests/infer/inputs/test_tiff.py).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image, TiffImagePlugin
from PIL.ExifTags import Base

from lexlip_infer.errors import ImageError

#: Pixels of a tile that may be larger than the picture: libtiff makes room for whole tiles.
_LARGEST_TILE = 2**24

_SAVE = "save it with 8 or 16 bits a channel"
_KINDS = {
    0: "grey, white as zero",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIE Lab",
    9: "ICC Lab",
    32803: "the mosaic of a camera",
}
_NUMBERS = {1: "unsigned", 2: "signed", 3: "float", 4: "undefined", 5: "complex", 6: "complex"}


def check_tiff(image: Image.Image) -> None:
    """Let pass what is no TIFF, or one whose pixels Pillow reads as they are meant.

    Raises:
        ImageError: its pixels have no defined range, or Pillow would take them for others.
    """
    tags = _tags(image)
    if tags is None:
        return
    tile = int(tags.get(Base.TileWidth, 0)) * int(tags.get(Base.TileLength, 0))
    if tile > max(_LARGEST_TILE, image.width * image.height):
        raise ImageError(f"a TIFF of {image.width} x {image.height} pixels in tiles of {tile:,}, the size of a picture")
    bits, numbers = _all(tags, Base.BitsPerSample), _all(tags, Base.SampleFormat)
    if 3 in numbers or max(bits) > 16:
        raise ImageError(f"floats or 32-bit greys, which have no defined range; {_SAVE}")
    if set(numbers) != {1}:
        raise ImageError(f"{_NUMBERS.get(numbers[0], 'unknown')} numbers, which have no defined range; {_SAVE}")
    uncompressed = tags.get(Base.Compression, 1) == 1
    if tags.get(Base.PlanarConfiguration, 1) == 2 and not _planes_are_read(tags, bits, uncompressed):
        raise ImageError(
            f"a TIFF whose channels lie in planes of their own ({_described(tags)}), which is not read; "
            "save it with interleaved channels"
        )
    turned = uncompressed and tags.get(Base.FillOrder, 1) == 2
    if turned and ((_kind(tags) == 3 and max(bits) < 8) or (_kind(tags) == 0 and max(bits) == 8)):
        raise ImageError(
            f"a TIFF of bits in reverse order ({_described(tags)}), which is not read; save it in the usual"
        )
    if uncompressed and len(bits) > 1 and _kind(tags) == 6 and _all(tags, Base.YCbCrSubSampling, 2, 2) != (1, 1):
        raise ImageError("an uncompressed TIFF in YCbCr of reduced resolution, which is not read; save it as RGB")


def _planes_are_read(tags: Mapping[int, Any], bits: tuple[int, ...], uncompressed: bool) -> bool:
    alpha = {extra for extra in _all(tags, Base.ExtraSamples, 0) if extra}
    if alpha and _kind(tags) != 2:
        return False
    if not uncompressed:
        return True
    # Pillow unpacks such a plane by the first letters of its mode: as bytes that are neither inverted nor turned round.
    plain = tags.get(Base.FillOrder, 1) == 1 and _kind(tags) in {1, 2, 3, 5} and 1 not in alpha
    return plain and (set(bits) == {8} or (bits == (1,) and _kind(tags) == 1))


def grey_of_tiff(image: Image.Image) -> tuple[int, bool]:
    """The largest level of a grey image of up to 16 bits, and whether it is black; 65535 and no for all but TIFFs."""
    tags = _tags(image)
    if tags is None:
        return 65535, False
    return 2 ** max(_all(tags, Base.BitsPerSample)) - 1, _kind(tags) == 0


def describe_tiff(data: bytes) -> str | None:
    """Such as "RGB, 3 x 64 bits, float": what the tags say of a file; nothing where they cannot be read."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        return _described(tags) if Base.ImageWidth in tags and Base.ImageLength in tags else None
    except Exception:  # noqa: BLE001  (a damaged file raises anything)
        return None


def _tags(image: Image.Image) -> Mapping[int, Any] | None:
    return getattr(image, "tag_v2", None) if image.format == "TIFF" else None


def _kind(tags: Mapping[int, Any]) -> int:
    return int(tags.get(Base.PhotometricInterpretation, 0))


def _all(tags: Mapping[int, Any], tag: int, *default: int) -> tuple[int, ...]:
    value = tags.get(tag, default or (1,))
    return tuple(value) if isinstance(value, tuple) else (value,)


def _described(tags: Mapping[int, Any]) -> str:
    kind, bits, numbers = _kind(tags), _all(tags, Base.BitsPerSample), _all(tags, Base.SampleFormat)
    count = tags.get(Base.SamplesPerPixel, len(bits))
    return f"{_KINDS.get(kind, f'kind {kind}')}, {count} x {max(bits)} bits, {_NUMBERS.get(numbers[0], 'unknown')}"
