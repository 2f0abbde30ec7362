"""`lexlip cloud`: one image beside its caption, contact sheets in pages, and what is refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lexlip_infer import LexLIPEncoder, SparseBatch

Lexlip = Callable[..., Any]


@pytest.fixture(autouse=True)
def _extra_viz() -> None:
    for module in ("matplotlib", "wordcloud"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'lexlip-infer[viz]'")


@pytest.fixture
def draw(lexlip: Lexlip, bundle_folder: Path, tmp_path: Path) -> Lexlip:
    """`lexlip cloud` with the random model into out.png, a few words each."""

    def command(*arguments: object, output: str = "out.png") -> Any:
        return lexlip("cloud", *arguments, "-o", tmp_path / output, "--model", bundle_folder, "--terms", 5)

    return command


def refusal(outcome: Any, folder: Path) -> str:
    assert (outcome.status, outcome.stdout) == (2, "")
    assert not list(folder.glob("**/*out*"))
    (line,) = outcome.stderr.splitlines()
    return str(line)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def test_one_image(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    outcome = draw(photographs / "a.jpg")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", "")
    width, height = size(tmp_path / "out.png")
    assert draw(photographs / "a.jpg", "--caption", "a black dog", output="two.png").status == 0
    wider, higher = size(tmp_path / "two.png")
    assert wider > width
    assert higher > height


def test_same_command_same_bytes(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        assert draw(photographs / "a.jpg", "--caption", "a black dog", output=name).status == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_terms_are_what_the_model_keeps(
    lexlip: Lexlip, photographs: Path, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most --terms, and never more than an index would hold (24 of an image, 8 of a text)."""
    drawn: list[int] = []

    def draw_cloud(words: list[object], size: tuple[int, int], shared: object) -> Image.Image:
        drawn.append(len(words))
        return Image.new("RGB", size)

    monkeypatch.setattr("lexlip_infer.explain.sheets.draw_cloud", draw_cloud)
    for terms in ("4", "200"):
        arguments = (photographs / "a.jpg", "--caption", "a black dog", "--terms", terms, "--model", bundle_folder)
        assert lexlip("cloud", *arguments, "-o", tmp_path / f"{terms}.png").status == 0
    assert drawn == [4, 4, 24, 8]


def test_contact_sheet(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    assert draw(photographs).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_pages(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    assert draw(photographs, "--per-page", 2).status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-001.png", "out-002.png", "out-003.png"]
    assert size(tmp_path / "out-001.png") == size(tmp_path / "out-002.png")
    assert size(tmp_path / "out-003.png")[0] < size(tmp_path / "out-001.png")[0]


def test_a_full_page_is_one_page(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    assert draw(photographs, "--per-page", 5).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_a_damaged_image_is_listed(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photographs, tmp_path / "in")
    (folder / "a.jpg").write_bytes(b"")
    outcome = draw(folder)
    assert outcome.status == 3
    assert outcome.stderr == f"{folder / 'a.jpg'}: the file is empty (0 bytes)\n"
    assert (tmp_path / "out.png").is_file()


def test_no_image_can_be_decoded(draw: Lexlip, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    assert f"no image can be decoded; the first of 2: {tmp_path / 'a.jpg'}" in refusal(draw(tmp_path), tmp_path)


def test_the_only_image_cannot_be_decoded(draw: Lexlip, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert "a.jpg: the file is empty" in refusal(draw(tmp_path / "a.jpg"), tmp_path)


def test_no_words(draw: Lexlip, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: LexLIPEncoder, batch: SparseBatch, top_k: int | None = None) -> list[list[tuple[str, float]]]:
        return [[]]

    monkeypatch.setattr(LexLIPEncoder, "decode", nothing)
    outcome = draw(photographs / "a.jpg", "--caption", "?")
    assert outcome.status == 0
    assert outcome.stderr.splitlines() == [
        "a.jpg: the model finds no word in it; its cloud is empty",
        "the caption: the model finds no word in it; its cloud is empty",
    ]
    assert (tmp_path / "out.png").is_file()


def test_caption_of_several(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    assert "it stands beside one" in refusal(draw(photographs, "--caption", "a dog"), tmp_path)


def test_empty_caption(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    assert "--caption is empty" in refusal(draw(photographs / "a.jpg", "--caption", " "), tmp_path)


def test_unsuitable_suffix(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    line = refusal(draw(photographs / "a.jpg", output="out.gif"), tmp_path)
    assert "out.gif: pictures are written as .jpeg, .jpg, .png, .webp" in line


def test_the_photograph_is_never_written_over(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    photograph = shutil.copy(photographs / "b.png", tmp_path / "photo.png")
    before = photograph.read_bytes()
    assert "exists, and nothing is written over" in refusal(draw(photograph, output="photo.png"), tmp_path)
    assert photograph.read_bytes() == before


def test_no_such_folder(draw: Lexlip, photographs: Path, tmp_path: Path) -> None:
    assert "there is no folder" in refusal(draw(photographs / "a.jpg", output="none/out.png"), tmp_path)


def test_no_such_image(draw: Lexlip, tmp_path: Path) -> None:
    assert "none.jpg" in refusal(draw(tmp_path / "none.jpg"), tmp_path)


@pytest.mark.parametrize("module", ["matplotlib", "wordcloud"])
def test_without_the_extra(
    draw: Lexlip, photographs: Path, tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    line = refusal(draw(photographs / "a.jpg"), tmp_path)
    assert line == (
        f"lexlip: {module} is not installed; it comes with the extra 'viz': pip install 'lexlip-infer[viz]'"
    )
