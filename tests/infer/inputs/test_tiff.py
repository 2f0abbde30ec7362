"""TIFF of every kind, written here by hand: the picture that is meant, or a refusal that says why."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.ExifTags import Base

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.tiff import check_tiff

Numbers = npt.NDArray[np.int64]

WIDTH, HEIGHT = 13, 11
SAMPLES = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Layout(NamedTuple):
    """Tags that decide what the bytes mean."""

    photometric: int = 1
    bits: int = 8
    planar: int = 1
    fill_order: int = 1
    byte_order: Literal["<", ">"] = "<"
    deflated: bool = False
    extra: tuple[int, ...] = ()
    pieces: Literal["one", "strips", "tiles"] = "one"
    numbers: int = 1  # 1 unsigned, 2 signed, 3 float


def rows_as_bytes(values: Numbers, layout: Layout) -> bytes:
    """Each row begins with a byte of its own."""
    if layout.bits >= 8 and layout.bits != 12:
        return values.astype(f"{layout.byte_order}u{layout.bits // 8}").tobytes()
    bits = (values.reshape(len(values), -1, 1) >> np.arange(layout.bits - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def pieces_of(plane: Numbers, layout: Layout) -> Iterator[bytes]:
    if layout.pieces != "tiles":
        for top in range(0, HEIGHT, 4 if layout.pieces == "strips" else HEIGHT):
            yield rows_as_bytes(plane[top : top + (4 if layout.pieces == "strips" else HEIGHT)], layout)
        return
    tile = np.zeros((16, 16, plane.shape[2]), np.int64)
    tile[:HEIGHT, :WIDTH] = plane
    yield rows_as_bytes(tile, layout)


def write_tiff(values: Numbers, layout: Layout, more: dict[int, tuple[str, Sequence[int]]]) -> bytes:
    """A file of pixels (H, W, samples)."""
    planes = [values] if layout.planar == 1 else np.split(values, values.shape[2], axis=2)
    pieces = [piece for plane in planes for piece in pieces_of(plane, layout)]
    pieces = [piece.translate(_TURNED) if layout.fill_order == 2 else piece for piece in pieces]
    pieces = [zlib.compress(piece) if layout.deflated else piece for piece in pieces]
    offsets = list(itertools.accumulate((len(piece) for piece in pieces), initial=8))[:-1]
    sizes = [len(piece) for piece in pieces]
    tags: dict[int, tuple[str, Sequence[int]]] = {
        256: ("I", [WIDTH]),
        257: ("I", [HEIGHT]),
        258: ("H", [layout.bits] * values.shape[2]),
        259: ("H", [8 if layout.deflated else 1]),
        262: ("H", [layout.photometric]),
        266: ("H", [layout.fill_order]),
        277: ("H", [values.shape[2]]),
        284: ("H", [layout.planar]),
        339: ("H", [layout.numbers] * values.shape[2]),
        **more,
    }
    if layout.extra:
        tags[338] = ("H", layout.extra)
    if layout.pieces == "tiles":
        tags |= {322: ("I", [16]), 323: ("I", [16]), 324: ("I", offsets), 325: ("I", sizes)}
    else:
        tags |= {273: ("I", offsets), 278: ("I", [4 if layout.pieces == "strips" else HEIGHT]), 279: ("I", sizes)}
    return _with_tags(b"".join(pieces), tags, layout.byte_order)


def _with_tags(data: bytes, tags: dict[int, tuple[str, Sequence[int]]], order: str) -> bytes:
    data += b"\0" * (len(data) % 2)
    first = 8 + len(data)
    behind, entries = b"", struct.pack(f"{order}H", len(tags))
    for tag, (kind, values) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}{kind}", *values)
        entries += struct.pack(f"{order}HHI", tag, 3 if kind == "H" else 4, len(values))
        if len(raw) <= 4:
            entries += raw.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", first + 2 + 12 * len(tags) + 4 + len(behind))
            behind += raw
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", first)
    return header + data + entries + bytes(4) + behind


def meant(values: Numbers, layout: Layout, palette: Numbers) -> npt.NDArray[np.float64]:
    """The picture on white, (H, W, 3) of 0-255, by the definition of TIFF 6.0."""
    level = values / (2**layout.bits - 1)
    match layout.photometric:
        case 0 | 1:
            rgb = np.repeat(level[..., :1], 3, axis=2)
            rgb = 1 - rgb if layout.photometric == 0 else rgb
        case 2:
            rgb = level[..., :3]
        case 3:
            rgb = palette[:, values[..., 0]].transpose(1, 2, 0) / 65535
        case 5:
            rgb = (1 - level[..., :3]) * (1 - level[..., 3:4])
        case _:
            y, blue, red = np.moveaxis(level * 255, 2, 0)[:3]
            blue, red = blue - 128, red - 128
            rgb = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=2) / 255
    alpha = level[..., -1:]
    if layout.extra == (1,):
        rgb = rgb + 1 - alpha
    elif layout.extra == (2,):
        rgb = rgb * alpha + 1 - alpha
    result: npt.NDArray[np.float64] = rgb.clip(0, 1) * 255
    return result


def make(layout: Layout) -> tuple[bytes, npt.NDArray[np.float64]]:
    random = np.random.default_rng(0)
    samples = SAMPLES.get(layout.photometric, 3) + len(layout.extra)
    values = random.integers(0, 2**layout.bits, (HEIGHT, WIDTH, samples), dtype=np.int64)
    if layout.extra == (1,):  # colours that were multiplied by alpha
        values = np.minimum(values, values[..., -1:])
    palette = random.integers(0, 256, (3, 2 ** min(layout.bits, 8)), dtype=np.int64) * 257
    more: dict[int, tuple[str, Sequence[int]]] = {}
    if layout.photometric == 3:
        more[320] = ("H", palette.ravel().tolist())
    if layout.photometric == 6:
        more[530] = ("H", [1, 1])
    expected = meant(values, layout, palette) if layout.bits <= 16 else np.zeros(0)
    return write_tiff(values, layout, more), expected


def every_layout() -> Iterator[Layout]:
    orders: tuple[Any, ...] = ("<", ">")
    for photometric, bits, planar, order, deflated in itertools.product(
        (0, 1, 2, 3, 5, 6), (1, 2, 4, 8, 12, 16, 32), (1, 2), orders, (False, True)
    ):
        if photometric == 3 and bits > 8:
            continue
        plain = Layout(photometric, bits, planar, byte_order=order, deflated=deflated)
        yield plain
        yield from (plain._replace(pieces=pieces) for pieces in ("strips", "tiles"))
        yield from (plain._replace(extra=extra) for extra in ((0,), (1,), (2,)) if bits in {8, 16})
        if not deflated:
            yield plain._replace(fill_order=2)


@pytest.mark.parametrize("photometric", SAMPLES)
def test_the_picture_that_is_meant_or_a_refusal(photometric: int) -> None:
    read, refusals = set[Layout](), dict[str, Layout]()
    for layout in every_layout():
        if layout.photometric != photometric:
            continue
        data, expected = make(layout)
        try:
            image = np.asarray(load_image(data), np.float64)
        except ImageError as error:
            refusals[str(error)] = layout
            continue
        tolerance = 8 if layout.bits == 16 and layout.extra == (1,) else 2  # alpha and colours of 8 bits divide roughly
        assert np.abs(image - expected).max() <= tolerance, layout
        read.add(layout)
    every_day = {Layout(photometric), Layout(photometric, byte_order=">", deflated=True), Layout(photometric, planar=2)}
    reasons = ("not read", "no defined range", "decoder error")
    assert not [layout for said, layout in refusals.items() if not any(reason in said for reason in reasons)]
    assert every_day - read <= ({Layout(0, planar=2)} if photometric == 0 else {Layout(6, planar=2)})


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_with_white_as_zero_is_no_negative(bits: int, order: Literal["<", ">"]) -> None:
    data, expected = make(Layout(0, bits, byte_order=order))
    if bits == 16 and order == ">":
        with pytest.raises(ImageError, match=r"not read, or damaged \(grey, white as zero, 1 x 16 bits, unsigned"):
            load_image(data)
    else:
        assert np.abs(np.asarray(load_image(data), np.float64) - expected).max() <= 1


def test_twelve_bits_are_as_bright_as_sixteen() -> None:
    data, expected = make(Layout(1, 12))
    assert np.abs(np.asarray(load_image(data), np.float64) - expected).max() <= 1


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (Layout(1, 32), "floats or 32-bit greys, which have no defined range"),
        (Layout(1, 32, numbers=3), "floats or 32-bit greys, which have no defined range"),
        (Layout(1, 8, numbers=2), "signed numbers, which have no defined range"),
        (Layout(1, 16, numbers=2), "signed numbers, which have no defined range"),
        (Layout(2, 16, planar=2), r"planes of their own \(RGB, 3 x 16 bits, unsigned\), which is not read"),
        (Layout(0, 8, planar=2), r"planes of their own \(grey, white as zero, 1 x 8 bits, unsigned\)"),
        (Layout(3, 4, fill_order=2), "bits in reverse order"),
        (Layout(2, 32), r"not read, or damaged \(RGB, 3 x 32 bits, unsigned: unknown pixel mode\)"),
        (Layout(32803, 8), r"not read, or damaged \(the mosaic of a camera, 3 x 8 bits, unsigned"),
        (Layout(7, 8), r"\(kind 7, 3 x 8 bits"),
    ],
)
def test_why_it_is_refused(layout: Layout, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        load_image(make(layout)[0])


def test_dark_32_bit_greys_are_not_taken_for_16_bit_ones() -> None:
    data = write_tiff(np.full((HEIGHT, WIDTH, 1), 255), Layout(1, 32), {})
    with pytest.raises(ImageError, match="no defined range"):
        load_image(data)


def test_uncompressed_colours_of_reduced_resolution() -> None:
    for more in ({530: ("H", [2, 2])}, {}):  # two by two is what a missing tag means
        data = write_tiff(np.zeros((HEIGHT, WIDTH, 3), np.int64), Layout(6), dict[int, tuple[str, Sequence[int]]](more))
        with pytest.raises(ImageError, match="reduced resolution"):
            load_image(data)


@pytest.mark.parametrize(("size", "fits"), [((4096, 4096), True), ((4112, 4096), False)])
def test_tiles_are_no_larger_than_pictures(size: tuple[int, int], fits: bool) -> None:
    image = Image.new("L", (24, 16))
    image.format = "TIFF"
    image.tag_v2 = {Base.TileWidth: size[0], Base.TileLength: size[1]}  # type: ignore[attr-defined]
    if fits:
        check_tiff(image)
    else:
        with pytest.raises(ImageError, match="24 x 16 pixels in tiles of 16,842,752"):
            check_tiff(image)
