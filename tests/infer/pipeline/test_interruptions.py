"""A run stopped between any two of its steps, by a kill or by a full disk, loses nothing and repeats nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.collection.manifest import MANIFEST, VECTORS, RunManifest, read_manifest
from lexlip_infer.errors import OutputError
from lexlip_infer.files import HashedFile

Run = Callable[..., RunManifest]

#: Every call by which a run changes the disk.
STEPS = ((os, "fsync"), (os, "rename"), (os, "mkdir"), (shutil, "rmtree"), (HashedFile, "write"))


class Killed(BaseException):
    """Stands in for SIGKILL: nothing may catch it and carry on."""


def disk_full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(autouse=True)
def quick_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing guards against a loss of power, which nothing here simulates, and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@contextlib.contextmanager
def stopped_at(step: int, stop: Callable[[], BaseException]) -> Iterator[Callable[[], int]]:
    """Let `step` steps pass and fail the next; yields how many were asked for."""
    asked = 0

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked > step:
                raise stop()
            return original(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, guarded(getattr(owner, name)))
        yield lambda: asked


def check_finished_shards(folder: Path) -> int:
    """What the manifest lists is whole; returns how many shards that are."""
    if not (folder / MANIFEST).exists():
        return 0
    shards = read_manifest(folder).shards
    for shard in shards:
        data = (folder / VECTORS / shard.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.size, shard.sha256)
    return len(shards)


@pytest.mark.parametrize(("stop", "expected"), [(Killed, Killed), (disk_full, OutputError)], ids=["kill", "disk full"])
def test_every_step(
    stop: Callable[[], BaseException],
    expected: type[BaseException],
    items: Any,
    contents: Any,
    run: Run,
    tmp_path: Path,
) -> None:
    run(items, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    shards_seen = set()
    for step in itertools.count():
        output = tmp_path / f"stopped-{step}"
        with stopped_at(step, stop) as asked, contextlib.suppress(expected):
            run(items, output)
        if asked() <= step:
            break
        shards_seen.add(check_finished_shards(output))
        run(items, output)
        assert contents(output) == whole, f"stopped before step {step}"
        assert not (output / ".tmp").exists()
    assert shards_seen == {0, 1, 2, 3, 4}
    assert step > 40


def test_stopped_again_and_again(items: Any, contents: Any, run: Run, tmp_path: Path) -> None:
    run(items, tmp_path / "whole")
    output = tmp_path / "stopped"
    attempts = 0
    while not (output / MANIFEST).exists() or not read_manifest(output).complete:
        with stopped_at(15, Killed), contextlib.suppress(Killed):
            run(items, output)
        attempts += 1
        assert attempts < 20, "no progress"
    run(items, output)
    assert contents(output) == contents(tmp_path / "whole")
    assert attempts > 2


def test_message(items: Any, run: Run, tmp_path: Path) -> None:
    said = set()
    for step in range(30):
        with stopped_at(step, disk_full), pytest.raises(OutputError) as raised:
            run(items, tmp_path / str(step))
        place, reason = str(raised.value).split(": ")
        assert reason == "cannot be written (No space left on device)"
        said.add(place.removeprefix(str(tmp_path / str(step))))
    assert {"", "/.tmp", "/manifest.json", "/vectors", "/vectors/part-00000.jsonl"} <= said, said


def test_a_file_size_limit_of_the_system(items: Any, contents: Any, run: Run, tmp_path: Path) -> None:
    run(items, tmp_path / "whole", items_per_shard=7)
    size = (tmp_path / "whole" / VECTORS / "part-00000.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(File too large\)"):
            run(items, tmp_path / "out", items_per_shard=7)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "out" / VECTORS).iterdir())
    run(items, tmp_path / "out", items_per_shard=7)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_error_of_the_reader_commits_nothing(numbered: Any, contents: Any, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"

    def break_off(number: int) -> None:
        if number == 17:
            raise Killed

    many = numbered(20)
    many.before = break_off
    with pytest.raises(Killed):
        run(many, output)
    finished = check_finished_shards(output)
    assert 0 < finished < 9
    assert sorted(path.name for path in (output / VECTORS).iterdir()) == [
        f"part-{n:05d}.jsonl" for n in range(finished)
    ]
    run(numbered(20), output)
    run(numbered(20), tmp_path / "whole")
    assert contents(output) == contents(tmp_path / "whole")
