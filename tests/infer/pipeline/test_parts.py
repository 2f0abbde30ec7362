"""Cutting a stream into parts: the same places every time, and between runs that share it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexlip_infer.collection.manifest import RunManifest, RunSettings
from lexlip_infer.collection.parts import AnyItem, PartEnd, Unit, share, unfinished_steps
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem

Run = Callable[..., RunManifest]

USUAL = {
    "modality": "text", "source": "", "model": None, "model_name": "", "model_fingerprint": "", "top_k": 1,
    "scale": 1.0, "cap": 1, "normalise": False,
}  # fmt: skip


def manifest(**changes: Any) -> RunManifest:
    return RunManifest(version="0", settings=RunSettings.model_validate(USUAL | changes))


def texts(count: int) -> list[AnyItem]:
    return [TextItem(str(number), "", f"text {number}") for number in range(count)]


def cuts(items: list[AnyItem], unit_size: int, **settings: int) -> list[Unit | PartEnd]:
    return list(unfinished_steps(iter(items), manifest(**settings), unit_size, AssertionError))


def test_units_end_with_their_part() -> None:
    steps = cuts(texts(8), 2, items_per_shard=3)
    sizes = [len(step.items) if isinstance(step, Unit) else f"end of {step.inputs}" for step in steps]
    assert sizes == [2, 1, "end of 3", 2, 1, "end of 3", 2, "end of 2"]


def test_the_digest_is_of_ids_and_contents() -> None:
    collections: list[list[AnyItem]] = [
        [TextItem("a", "", "b")],
        [TextItem("a", "", "c")],
        [TextItem("c", "", "b")],
        [BadItem("a", "", "b")],
        [ImageItem("a", "", Path("x"), 1)],
        [ImageItem("a", "", Path("x"), 2)],
        [TextItem("a", "", "b"), TextItem("a", "", "b")],
        [TextItem("a\udce9", "", "b")],
    ]
    ends = [cuts(items, 5, items_per_shard=5)[-1] for items in collections]
    assert len({end.digest for end in ends if isinstance(end, PartEnd)}) == len(collections)
    moved: list[AnyItem] = [ImageItem("a", "elsewhere", Path("y"), 1)]
    assert cuts(moved, 5, items_per_shard=5)[-1] == ends[4]


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5))
def test_runs_that_share_a_collection(count: int, items_per_shard: int, unit_size: int, shard_num: int) -> None:
    """Every part of the single run is in exactly one of them, and `share` says how many items each has."""
    settings = {"items_per_shard": items_per_shard}
    ends = [step for step in cuts(texts(count), unit_size, **settings) if isinstance(step, PartEnd)]
    found: dict[int, PartEnd] = {}
    for shard_id in range(shard_num):
        ours = settings | {"shard_num": shard_num, "shard_id": shard_id}
        steps = cuts(texts(count), unit_size, **ours)
        items = [item for step in steps if isinstance(step, Unit) for item in step.items]
        assert share(count, manifest(**ours).settings) == len(items)
        parts = [step for step in steps if isinstance(step, PartEnd)]
        found |= zip(range(shard_id, 10**6, shard_num), parts, strict=False)
    assert [found[number] for number in sorted(found)] == ends


def test_an_unknown_count() -> None:
    assert share(None, manifest(items_per_shard=3).settings) is None


@pytest.mark.parametrize("shard_num", [2, 3, 7])
def test_outputs_of_all_runs_are_that_of_one(
    shard_num: int, numbered: Any, run: Run, contents: Callable[[Path], Any], tmp_path: Path
) -> None:
    whole = run(numbered(11), tmp_path / "whole")
    shards = []
    for shard_id in range(shard_num):
        output = tmp_path / str(shard_id)
        manifest = run(numbered(11), output, shard_num=shard_num, shard_id=shard_id)
        assert manifest.complete
        shards += manifest.shards
        for shard in manifest.shards:
            assert (output / "vectors" / shard.name).read_bytes() == (
                tmp_path / "whole" / "vectors" / shard.name
            ).read_bytes()
        before = contents(output)
        run(numbered(11), output, shard_num=shard_num, shard_id=shard_id)
        assert contents(output) == before
    assert sorted(shards, key=lambda shard: shard.name) == list(whole.shards)


def test_parts_that_are_not_ours_may_change(numbered: Any, reader: Any, run: Run, tmp_path: Path) -> None:
    """They are somebody else's to check; what moves our own items is noticed."""
    run(numbered(11), tmp_path / "out", shard_num=2, shard_id=1)
    items = [*numbered(11).items]
    others = [TextItem("new", "", "9"), *items[1:]]
    assert run(reader(others), tmp_path / "out", shard_num=2, shard_id=1).complete
    with pytest.raises(OSError, match="first in part-00001"):
        run(reader([TextItem("one more", "", "9"), *items]), tmp_path / "out", shard_num=2, shard_id=1)
