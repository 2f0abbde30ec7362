"""Decoding on threads: order, bounded look-ahead, and a clean end whoever stops first."""

from __future__ import annotations

import gc
import io
import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lexlip_infer.errors import ImageError
from lexlip_infer.inputs import preprocessing
from lexlip_infer.inputs.images import ImageSource, load_image
from lexlip_infer.inputs.preprocessing import ImagePreprocessor, decode_images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREPROCESS = ImagePreprocessor(4, "squash", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def grey(level: int, size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(file, "PNG")
    return file.getvalue()


def decode_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def wait_for_threads() -> None:
    for thread in decode_threads():
        thread.join(timeout=60)
    assert not decode_threads()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ahead", [1, 2, 7, 100])
def test_order_is_kept_and_errors_take_their_place(workers: int, ahead: int) -> None:
    sizes = [(400, 400) if i % 3 == 0 else (5, 5) for i in range(20)]  # slow ones must not be overtaken
    sources = [b"broken" if i in {0, 7, 19} else grey(i * 10, sizes[i]) for i in range(20)]
    results = list(decode_images(sources, PREPROCESS, workers, ahead))
    assert len(results) == 20
    for i, result in enumerate(results):
        if i in {0, 7, 19}:
            assert isinstance(result, ImageError)
            assert "not an image" in str(result)
        else:
            assert isinstance(result, np.ndarray)
            assert result.shape == (3, 4, 4)
            np.testing.assert_allclose(result, i * 10 / 255, atol=1e-6)
    wait_for_threads()


def test_no_sources() -> None:
    assert list(decode_images([], PREPROCESS, 2, 4)) == []


def test_all_kinds_of_sources(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(grey(51))
    image = np.full((3, 3, 3), 51, np.uint8)
    sources: list[ImageSource] = [grey(51), tmp_path / "a.png", str(tmp_path / "a.png"), image, Image.fromarray(image)]
    for result in decode_images(sources, PREPROCESS, 2, 3):
        assert isinstance(result, np.ndarray)
        np.testing.assert_allclose(result, 0.2, atol=1e-6)


@pytest.mark.parametrize("ahead", [1, 3, 8])
def test_look_ahead_is_bounded(ahead: int) -> None:
    consumed = 0

    def sources() -> Iterator[bytes]:
        nonlocal consumed
        for i in range(30):
            consumed += 1
            yield grey(i)

    results = decode_images(sources(), PREPROCESS, 2, ahead)
    assert consumed == 0
    for taken, _ in enumerate(results):
        assert consumed <= taken + ahead
    assert consumed == 30


def test_abandoned_midway_it_leaves_no_thread() -> None:
    results = decode_images((grey(i) for i in range(1000)), PREPROCESS, 2, 10)
    next(results)
    results.close()  # type: ignore[attr-defined]
    wait_for_threads()


def test_closing_does_not_wait_for_what_nobody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    started = []

    def slow(source: bytes) -> Image.Image:
        started.append(source)
        assert release.wait(60)
        return load_image(source)

    monkeypatch.setattr(preprocessing, "load_image", lambda source: slow(source) if source else load_image(b"x"))
    results = decode_images([b"", *[grey(1)] * 50], PREPROCESS, 2, 10)
    assert isinstance(next(results), ImageError)
    results.close()  # type: ignore[attr-defined]
    release.set()
    wait_for_threads()
    assert len(started) <= 3  # two were running, one may have been about to


def test_an_exception_of_the_source_comes_through() -> None:
    def sources() -> Iterator[bytes]:
        yield grey(1)
        raise KeyError("the archive ends here")

    with pytest.raises(KeyError, match="the archive ends here"):
        list(decode_images(sources(), PREPROCESS, 2, 10))
    wait_for_threads()


def test_our_own_bugs_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(source: bytes) -> Image.Image:
        raise ZeroDivisionError

    monkeypatch.setattr(preprocessing, "load_image", bug)
    with pytest.raises(ZeroDivisionError):
        list(decode_images([grey(1)], PREPROCESS, 1, 1))
    wait_for_threads()


def test_a_kept_error_does_not_keep_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def remembering(source: bytes) -> Image.Image:
        image = Image.new("RGB", (3, 3))
        held.append(weakref.ref(image))
        return load_image(b"broken")

    monkeypatch.setattr(preprocessing, "load_image", remembering)
    errors = list(decode_images([b"x"] * 3, PREPROCESS, 1, 2))
    gc.collect()
    assert len(errors) == len(held) == 3
    assert [reference() for reference in held] == [None] * 3
