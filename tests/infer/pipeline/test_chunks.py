"""What is sent to other machines: bounded, whole parts at most, with paths that mean the same anywhere."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from lexlip_infer.collection.parts import AnyItem, PartEnd, Unit
from lexlip_infer.inputs.frames import Frame
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.pipeline.ray_engine import room
from lexlip_infer.pipeline.ray_workers import chunks


def numbers(count: int) -> list[AnyItem]:
    return [TextItem(str(number), "", "text") for number in range(count)]


def test_a_chunk_ends_with_its_part() -> None:
    steps = [Unit(numbers(2)), Unit(numbers(1)), PartEnd(3, "a"), Unit(numbers(2)), PartEnd(2, "b")]
    assert [len(chunk.steps) for chunk in chunks(steps)] == [3, 2]
    assert list(itertools.chain(*(chunk.steps for chunk in chunks(steps)))) == steps


def test_many_inputs_are_several_chunks() -> None:
    steps = [*(Unit(numbers(256)) for _ in range(9)), PartEnd(9 * 256, "")]
    assert [len(chunk.steps) for chunk in chunks(steps)] == [4, 4, 2]


def test_many_bytes_are_several_chunks() -> None:
    large = ImageItem("a", "", bytes(2**25), 2**25)
    frame = ImageItem("b", "", Frame(bytes(2**25), 1), 2**25)
    steps = [*(Unit([large]) for _ in range(3)), Unit([frame]), Unit([frame]), PartEnd(5, "")]
    assert [len(chunk.steps) for chunk in chunks(steps)] == [2, 2, 2]


def test_nothing_is_read_ahead() -> None:
    read: list[int] = []

    def steps() -> itertools.chain[Unit | PartEnd]:
        for number in range(3):
            read.append(number)
            yield from (Unit(numbers(1)), PartEnd(1, ""))

    next(chunks(steps()))
    assert read == [0]


def test_paths_are_absolute_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    items: list[AnyItem] = [
        ImageItem("a.jpg", "in/a.jpg", Path("in/a.jpg"), 1),
        ImageItem("b.gif", "in/b.gif", Frame(Path("in/b.gif"), 2), 1),
        BadItem("c", "in/c", "broken"),
        TextItem("d", "in/d:1", "text"),
    ]
    (chunk,) = chunks([Unit(items), PartEnd(4, "")])
    assert chunk.steps[0] == Unit(
        [
            ImageItem("a.jpg", "in/a.jpg", tmp_path / "in/a.jpg", 1),
            ImageItem("b.gif", "in/b.gif", Frame(tmp_path / "in/b.gif", 2), 1),
            *items[2:],
        ]
    )


def test_room() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 7.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert [room(nodes, threads, 0) for threads in (1, 4, 8, 9)] == [15, 3, 1, 0]
    assert [room(nodes, threads, 1) for threads in (1, 4, 8, 9)] == [2, 2, 1, 0]
