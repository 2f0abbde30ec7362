"""Lists of paths, standard input, frames, and the table that finds an id's second coming."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lexlip_infer.errors import ImageError, InputError
from lexlip_infer.inputs.frames import Frame
from lexlip_infer.inputs.image_options import ImageOptions
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers import checked_ids, open_images, open_texts
from lexlip_infer.inputs.readers.checked_ids import IdTable

Fill = Callable[[Iterable[str]], Path]
Ids = Callable[[Any], list[str]]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


class TestLists:
    def test_paths_ids_and_what_is_missing(self, fill: Fill) -> None:
        root = fill(["x/a.png", "x/b c.png"])
        (root / "list.txt").write_bytes(b"./x/a.png\r\n\nx/b c.png\tB\nx/none.png\n")
        reader = open_images(["list.txt"])
        assert list(reader) == [
            ImageItem("./x/a.png", "x/a.png", Path("x/a.png"), 7),
            ImageItem("B", "x/b c.png", Path("x/b c.png"), 9),
            ImageItem("x/none.png", "x/none.png", Path("x/none.png"), -1),
        ]
        assert list(reader) == list(reader)
        assert reader.count is None

    def test_a_second_time(self, fill: Fill, ids: Ids) -> None:
        fill(["a.png"])
        Path("list.lst").write_text("a.png\nb.png\ta.png\na.png\tother\n")
        assert ids(open_images(["list.lst"])) == ["a.png", "!a.png", "other"]

    def test_a_path_that_is_no_unicode(self, fill: Fill) -> None:
        root = fill([])
        (root / "list.txt").write_bytes(b"caf\xe9.png\ncaf\xe9.png\tcafe\n")
        first, second = open_images(["list.txt"])
        assert isinstance(first, BadItem)
        assert isinstance(second, ImageItem)
        assert os.fsencode(second.source) == b"caf\xe9.png"  # type: ignore[arg-type]

    def test_an_empty_list(self, fill: Fill) -> None:
        fill([])
        Path("list.txt").write_text("\n \n")
        with pytest.raises(InputError, match=r"list\.txt: an empty list; expected a path a line"):
            open_images(["list.txt"])


class TestStandardInput:
    def test_is_read_once(self, stdin: Callable[[bytes], None], ids: Ids) -> None:
        stdin(b"a.png\nb.png\tB\n")
        reader = open_images(["-"])
        assert (reader.count, reader.passed_over) == (None, "")
        assert ids(reader) == ["a.png", "B"]
        with pytest.raises(InputError, match="standard input was read already"):
            list(reader)

    def test_is_read_lazily(self, monkeypatch: pytest.MonkeyPatch) -> None:
        receiving, sending = os.pipe()
        with os.fdopen(sending, "wb", buffering=0) as writer, os.fdopen(receiving, "rb") as buffer:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer))
            items = iter(open_images(["-"]))
            writer.write(b"a.png\n")
            assert next(items).id == "a.png"
            writer.write(b"b.png\n")
            assert next(items).id == "b.png"

    def test_alone(self) -> None:
        with pytest.raises(InputError, match=r"standard input \(-\) was given together with other inputs"):
            open_images(["-", "x"])


class TestFrames:
    def test_animations_are_taken_apart(self, fill: Fill) -> None:
        root = fill(["z.png"])
        pictures = [Image.new("RGB", (5, 4), colour) for colour in ("red", "green", "blue")]
        pictures[0].save(root / "a.gif", save_all=True, append_images=pictures[1:])
        pictures[0].save(root / "b.png")
        reader = open_images(["."], options=ImageOptions(frames="all"))
        items = list(reader)
        assert [item.id for item in items] == ["a.gif#frame=0", "a.gif#frame=1", "a.gif#frame=2", "b.png", "z.png"]
        assert items[1] == ImageItem("a.gif#frame=1", "a.gif#frame=1", Frame(Path("a.gif"), 1), items[0].size)  # type: ignore[union-attr]
        assert (reader.count, reader.passed_over) == (None, "")
        assert [item.id for item in open_images(["."])] == ["a.gif", "b.png", "z.png"]


class TestIdTable:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.text(max_size=3)))
    def test_is_a_dictionary_of_first_places(self, ids: list[str]) -> None:
        table, first = IdTable(), dict[str, int]()
        for number, identifier in enumerate(ids, start=1):
            assert table.first(identifier, number) == first.setdefault(identifier, number)

    def test_grows(self) -> None:
        table = IdTable()
        for number in range(1, 20_001):
            assert table.first(f"id-{number}", number) == number
        assert all(table.first(f"id-{number}", 0) == number for number in range(1, 20_001))
        assert len(table._hashes) == 65_536

    def test_survives_colliding_slots(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Same:
            def __init__(self, data: bytes, digest_size: int) -> None:
                self._data = data

            def digest(self) -> bytes:
                return self._data.ljust(5, b"\0") + b"\0\0\0"  # the low bits decide the slot: all alike

        monkeypatch.setattr(checked_ids.hashlib, "blake2b", Same)
        table = IdTable()
        names = [f"{number:04}" for number in range(1500)]
        assert [table.first(name, number) for number, name in enumerate(names, 1)] == list(range(1, 1501))
        assert [table.first(name, 0) for name in names] == list(range(1, 1501))


@pytest.mark.parametrize("suffix", [".txt", ".tar", ".parquet", ".jsonl"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"a{suffix}")
    with pytest.raises(InputError, match="is a FIFO; expected a regular file"):
        (open_texts if suffix == ".jsonl" else open_images)([str(tmp_path / f"a{suffix}")])


def test_a_pipe_beside_an_image(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "b.txt"):
        (tmp_path / name).write_text("a dog")
    os.mkfifo(tmp_path / "a.txt")
    bad, good = open_texts([str(tmp_path)])
    assert isinstance(bad, BadItem)
    assert bad.error == "is a FIFO; expected a regular file"
    assert good == TextItem("b.jpg", str(tmp_path / "b.txt"), "a dog")


def test_names_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a\0b.jpg\n../../c.jpg\tone\x1bid\n" + b"x" * 5000 + b".jpg\n")
    items = list(open_images([str(tmp_path / "list.txt")]))
    assert [getattr(item, "size", None) for item in items] == [-1, -1, -1]
    for item in items:
        assert isinstance(item, ImageItem)
        with pytest.raises(ImageError, match=r"not a file name|cannot be read"):
            load_image(item.source)
