"""Animations taken apart: every frame is the one it says it is, in whatever order it is asked for."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs import frames
from lexlip_infer.inputs.frames import Frame, count_frames
from lexlip_infer.inputs.image_options import ImageOptions
from lexlip_infer.inputs.images import load_image, truncation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Encode = Callable[..., bytes]

KINDS = ["GIF", "PNG", "WEBP", "AVIF"]


def animation(kind: str, encode: Encode, count: int = 6) -> bytes:
    pictures = [Image.new("RGB", (16, 16), (40 * i, 250 - 40 * i, 128)) for i in range(count)]
    options = {"lossless": True} if kind == "WEBP" else {}
    return encode(pictures[0], kind, save_all=True, append_images=pictures[1:], **options)


def number_of(image: Image.Image) -> int:
    return round(float(np.asarray(image)[..., 0].mean()) / 40)


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_in_any_order(kind: str, encode: Encode, tmp_path: Path) -> None:
    data = animation(kind, encode)
    path = tmp_path / "a"
    path.write_bytes(data)
    assert count_frames(data) == count_frames(path) == 6
    for number in (0, 1, 2, 5, 3, 4, 4, 0):
        assert number_of(load_image(Frame(data, number))) == number
        assert number_of(load_image(Frame(path, number))) == number


def test_frames_in_order_cost_one_pass(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(frames, "open_image", lambda data, real=frames.open_image: opened.append(1) or real(data))
    data = animation("GIF", encode)
    for number in range(6):
        load_image(Frame(data, number))
    assert len(opened) == 1
    assert getattr(frames._last, "progress", None) is None  # nothing is kept after the last one


def test_threads_do_not_share_an_animation(encode: Encode) -> None:
    data = animation("GIF", encode)
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda number: number_of(load_image(Frame(data, number))), list(range(6)) * 10))
    assert numbers == list(range(6)) * 10


def test_frames_travel_to_other_processes(encode: Encode) -> None:
    frame = Frame(animation("GIF", encode), 3)
    assert number_of(load_image(pickle.loads(pickle.dumps(frame)))) == 3


@pytest.mark.parametrize("number", [6, 10**6, -1])
def test_no_such_frame(number: int, encode: Encode) -> None:
    data = animation("GIF", encode)
    with pytest.raises(ImageError, match=rf"\(frame {number}\): damaged image"):
        load_image(Frame(data, number))
    assert number_of(load_image(Frame(data, 0))) == 0


def test_what_is_no_animation(photograph: Image.Image, encode: Encode, tmp_path: Path) -> None:
    pages = encode(photograph, "TIFF", save_all=True, append_images=[photograph])
    for data in (encode(photograph, "JPEG"), encode(photograph, "GIF"), pages, b"broken", b""):
        assert count_frames(data) == 1
    assert count_frames(tmp_path / "absent.gif") == 1


def test_an_animation_that_breaks_off(encode: Encode) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    pictures = [Image.fromarray(picture) for picture in noise]
    data = encode(pictures[0], "GIF", save_all=True, append_images=pictures[1:])
    cut = data[: len(data) // 2]
    assert load_image(Frame(cut, 0)).tobytes() == load_image(data).tobytes()
    with pytest.raises(ImageError, match="damaged image"):
        load_image(Frame(cut, count_frames(cut) - 1))
    with pytest.raises(ImageError, match="damaged image"):
        load_image(Frame(cut, 4))


def test_a_first_frame_that_breaks_off_may_be_accepted(encode: Encode) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    pictures = [Image.fromarray(picture) for picture in noise]
    cut = encode(pictures[0], "PNG", save_all=True, append_images=pictures[1:])[:8000]
    accept = ImageOptions(truncated="accept", background="red")
    image = load_image(Frame(cut, 0), accept)
    assert image.tobytes() == load_image(cut, accept).tobytes()
    note = truncation(image)
    assert note is not None
    assert image.getpixel((63, 63)) == (255, 0, 0)
    with pytest.raises(ImageError):
        load_image(Frame(cut, 1), accept)


def test_frames_that_the_file_has_no_room_for(encode: Encode) -> None:
    data = encode(Image.new("L", (4, 4)), "PNG")
    body = b"acTL" + struct.pack(">II", 2**31 - 1, 0)
    claimed = data[:33] + struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    assert 1 <= count_frames(claimed) <= len(claimed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_picture_is_refused_before_frames_are_drawn(
    kind: str, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = animation(kind, encode)
    plugin = type(Image.open(io.BytesIO(data)))
    sought: list[int] = []
    monkeypatch.setattr(plugin, "seek", lambda _image, number: sought.append(number))
    with pytest.raises(ImageError, match=r"16 x 16 pixels, more than 0\.0001 megapixels"):
        load_image(Frame(data, 3), ImageOptions(max_megapixels=1e-4))
    assert not any(sought)  # (to open an AVIF is to seek its first)


def test_only_what_may_be_an_animation_is_opened(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.new("L", (4, 4)), "PPM")
    monkeypatch.setitem(Image.OPEN, "PPM", (None, None))
    assert count_frames(data) == 1
