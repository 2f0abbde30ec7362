"""An output folder made by a stranger: nothing outside of it is written, emptied or removed, and it is no new one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.collection.manifest import RunManifest
from lexlip_infer.errors import OutputError

Run = Callable[..., RunManifest]


@pytest.fixture
def unfinished(items: Any, run: Run, tmp_path: Path) -> Path:
    """The output of a run that was killed before its first part was in the manifest."""
    output = tmp_path / "out"
    run(items, output)
    manifest = json.loads((output / "manifest.json").read_text()) | {"complete": False, "shards": []}
    (output / "manifest.json").write_text(json.dumps(manifest))
    for path in (output / "vectors").iterdir():
        path.unlink()
    (output / "failures.jsonl").unlink()
    (output / ".tmp").mkdir()
    return output


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("keep", "manifest.json", "part-00000.jsonl"):
        (folder / name).write_text("precious")
    return folder


def check(outside: Path) -> None:
    assert {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(
        ("keep", "manifest.json", "part-00000.jsonl"), "precious"
    )


#: Names in an output folder, and what their links lead to.
LINKS = {
    "vectors": "",
    "vectors/part-00000.jsonl": "keep",
    "failures.jsonl": "keep",
    "truncated.jsonl": "keep",
    "manifest.json": "keep",
    ".tmp": "",
    ".tmp/manifest.json": "keep",
    ".tmp/part-00000.jsonl": "keep",
    ".tmp/part-00002.jsonl": "missing",
}


@pytest.mark.parametrize(("name", "target"), LINKS.items())
def test_a_link_in_an_unfinished_output(
    name: str, target: str, items: Any, run: Run, unfinished: Path, outside: Path
) -> None:
    place = unfinished / name
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.symlink_to(outside / target)
    with pytest.raises(OutputError, match=f"{name}: is a symbolic link, which may lead out of its folder"):
        run(items, unfinished)
    check(outside)
    assert place.is_symlink()


@pytest.mark.parametrize("name", ["vectors", "vectors/part-00000.jsonl", "failures.jsonl", "manifest.json", ".tmp"])
def test_a_link_in_a_finished_output(name: str, items: Any, run: Run, tmp_path: Path) -> None:
    output, moved = tmp_path / "out", tmp_path / "moved"
    run(items, output)
    if name == ".tmp":
        moved.mkdir()
    else:
        (output / name).rename(moved)
    (output / name).symlink_to(moved)
    with pytest.raises(OutputError, match=f"{name}: is a symbolic link"):
        run(items, output)
    assert moved.exists()


@pytest.mark.parametrize("name", [".tmp", ".tmp/manifest.json"])
def test_a_folder_that_holds_a_link_alone_is_not_new(
    name: str, items: Any, run: Run, outside: Path, tmp_path: Path
) -> None:
    place = tmp_path / "out" / name
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / name.removeprefix(".tmp").removeprefix("/"))
    with pytest.raises(OutputError, match=f"{name}: is a symbolic link"):
        run(items, tmp_path / "out")
    check(outside)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".tmp"]


@pytest.mark.parametrize("name", ["failures.jsonl", "manifest.json", ".tmp/part-00000.jsonl", ".tmp/manifest.json"])
def test_a_special_file_is_refused_and_not_waited_for(name: str, items: Any, run: Run, unfinished: Path) -> None:
    (unfinished / name).unlink(missing_ok=True)
    os.mkfifo(unfinished / name)
    with pytest.raises(OutputError, match=rf"{name}: is a FIFO"):
        run(items, unfinished)


def test_a_hard_link_is_not_written_through(items: Any, run: Run, unfinished: Path, outside: Path) -> None:
    os.link(outside / "part-00000.jsonl", unfinished / ".tmp" / "part-00000.jsonl")
    run(items, unfinished)
    check(outside)
    shutil.rmtree(unfinished)
    run(items, unfinished)
    manifest = json.loads((unfinished / "manifest.json").read_text()) | {"complete": False, "shards": []}
    (unfinished / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(unfinished / "vectors")
    (unfinished / "failures.jsonl").unlink()
    os.link(outside / "keep", unfinished / "failures.jsonl")
    with pytest.raises(OutputError, match=r"failures\.jsonl: is a hard link"):
        run(items, unfinished)
    check(outside)


def test_the_folder_that_the_user_named_may_be_a_link(items: Any, contents: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    run(items, tmp_path / "link")
    run(items, tmp_path / "plain")
    assert contents(tmp_path / "elsewhere") == contents(tmp_path / "plain")
