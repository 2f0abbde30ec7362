"""Photographs with their clouds, and the files they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.explain import Caption, Cell, contact_sheet, save_picture, side_by_side
from lexlip_infer.explain.sheets import CELL, PANEL, page_path

RED = Image.new("RGB", (8, 6), (255, 0, 0))


def red_area(picture: Image.Image) -> int:
    return int((np.asarray(picture) == (255, 0, 0)).all(-1).sum())


def test_photograph_and_cloud() -> None:
    alone = side_by_side(RED, [("dog", 1.0)])
    assert red_area(alone) == PANEL[0] * PANEL[1]
    beside = side_by_side(RED, [("dog", 1.0)], Caption("a cat", [("cat", 1.0)]))
    assert beside.width > alone.width
    assert beside.height > alone.height
    assert red_area(beside) == red_area(alone)


def test_words_of_both_are_accented() -> None:
    def accented(words: list[tuple[str, float]]) -> int:
        picture = np.asarray(side_by_side(RED, [("dog", 1.0), ("sea", 0.5)], Caption("a text", words)))
        return int((picture == (0xD9, 0x48, 0x0F)).all(-1).sum())

    assert accented([("cat", 1.0)]) == 0
    assert accented([("sea", 1.0)]) > 100


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (5, 5, 1), (6, 3, 2), (7, 4, 2), (11, 4, 3)])
def test_grid(count: int, columns: int, rows: int) -> None:
    sheet = contact_sheet([Cell(f"{n}.jpg", RED, [("dog", 1.0)]) for n in range(count)])
    single = contact_sheet([Cell("0.jpg", RED, [])])
    assert sheet.height == rows * single.height
    assert sheet.width - single.width == (columns - 1) * (single.width - 24)
    assert red_area(sheet) == count * CELL[0] * CELL[1]


def test_any_shape_keeps_its_aspect() -> None:
    tall = Image.new("RGB", (1, 3000), (255, 0, 0))
    assert red_area(contact_sheet([Cell("a\nb\udcff.jpg", tall, [])])) == CELL[1]


@pytest.mark.parametrize(("suffix", "form"), [("png", "PNG"), ("JPG", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_files(suffix: str, form: str, tmp_path: Path) -> None:
    save_picture(RED, tmp_path / f"out.{suffix}")
    with Image.open(tmp_path / f"out.{suffix}") as saved:
        assert (saved.format, saved.size) == (form, RED.size)
    assert [path.name for path in tmp_path.iterdir()] == [f"out.{suffix}"]


@pytest.mark.parametrize("name", ["out", "out.gif", "out.png.txt"])
def test_unsuitable_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pictures are written as \.jpeg, \.jpg, \.png, \.webp"):
        save_picture(RED, tmp_path / name)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    photograph = tmp_path / "dog.png"
    photograph.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists, and nothing is written over"):
        save_picture(RED, photograph)
    assert photograph.read_bytes() == b"precious"


def test_larger_than_the_format_allows(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written with 1 x 17000 pixels .*; name a \.png"):
        save_picture(Image.new("RGB", (1, 17_000)), tmp_path / "out.webp")
    assert not list(tmp_path.iterdir())


def test_no_half_picture_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, file: object, *rest: object, **more: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="cannot be written"):
        save_picture(RED, tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_page_names() -> None:
    assert page_path(Path("a/out.v2.png"), 7) == Path("a/out.v2-007.png")
