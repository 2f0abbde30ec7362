"""Files and folders: whole or absent, whoever else is at work there."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.errors import OutputError
from lexlip_infer.files import (
    check_new_path,
    locked,
    new_file,
    new_folder,
    replacing,
    unwritable,
    write_synced,
    write_whole,
    writing,
)


def test_it_is_there_when_the_block_has_ended(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "out") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "file").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]
    assert (tmp_path / "a" / "out" / "deep" / "file").read_text() == "x"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "disk is full"), ValueError()])
def test_nothing_remains_of_a_block_that_failed(error: BaseException, tmp_path: Path) -> None:
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), new_folder(tmp_path / "out") as partial:  # noqa: PT012
        (partial / "file").write_text("x")
        raise error
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.partial" / "old").mkdir(parents=True)
    (tmp_path / ".out.partial" / "file").write_text("old")
    with new_folder(tmp_path / "out") as partial:
        assert not list(partial.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OutputError, match="link: exists, and nothing is written over"), new_folder(tmp_path / "link"):
        pass
    with pytest.raises(OutputError, match="out: exists"), new_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out"]


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as partial:
        (partial / "file").write_text("x")
        with pytest.raises(OutputError, match="another process is writing"), new_folder(tmp_path / "out"):
            pass
    assert (tmp_path / "out" / "file").read_text() == "x"


def test_an_older_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(KeyError), new_folder(tmp_path / "out", replace=True) as partial:  # noqa: PT012
        (partial / "new").write_text("new")
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]
    with new_folder(tmp_path / "out", replace=True) as partial:
        (partial / "new").write_text("new")
        assert (tmp_path / "out" / "old").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_a_new_file_is_there_when_the_block_has_ended(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").write_text("left by a killed process")
    with new_file(tmp_path / "out") as file:
        file.write(b"x")
        assert not (tmp_path / "out").exists()
        with pytest.raises(OutputError, match="is being written by another process"), new_file(tmp_path / "out"):
            pass
    assert (tmp_path / "out").read_text() == "x"
    with pytest.raises(OutputError, match="nothing is written over; name a new file"), new_file(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("write", [new_file, replacing])
def test_nothing_remains_of_a_file_whose_block_failed(write: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), write(tmp_path / "out") as file:  # noqa: PT012
        file.write(b"x")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_an_older_file_is_replaced_or_kept(tmp_path: Path) -> None:
    write_whole(tmp_path / "out", b"old")
    with pytest.raises(KeyError), replacing(tmp_path / "out") as file:  # noqa: PT012
        file.write(b"ne")
        raise KeyError
    assert (tmp_path / "out").read_bytes() == b"old"
    with replacing(tmp_path / "out", partial="elsewhere") as file:
        file.write(b"new")
        assert (tmp_path / "elsewhere").exists()
    assert (tmp_path / "out").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "out"
    with pytest.raises(OutputError, match=r"file/out: cannot be written \(Not a directory\)"):
        write_whole(below, b"")
    with pytest.raises(OutputError, match=r"file/out: cannot be written \(Not a directory\)"), new_file(below):
        pass
    with pytest.raises(OutputError, match=r"file/out: cannot be written \(Not a directory\)"), new_folder(below):
        pass
    with pytest.raises(OutputError, match=r"file/out: cannot be written \(Not a directory\)"), writing(tmp_path):
        write_synced(below, b"")
    with pytest.raises(OutputError, match=r"^already said$"), writing(tmp_path):
        raise OutputError("already said")
    assert str(unwritable("x", OSError("3 requested and 1 written"))).endswith("is the disk full?)")


def test_a_place_where_nothing_new_can_be_is_refused_early(tmp_path: Path) -> None:
    check_new_path(tmp_path / "out")
    with pytest.raises(OutputError, match=r"there is no folder .*missing; make it first"):
        check_new_path(tmp_path / "missing" / "out")
    (tmp_path / "out").symlink_to("nowhere")
    with pytest.raises(OutputError, match="out: exists"):
        check_new_path(tmp_path / "out")


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    again = locked(tmp_path, "somebody is at work")
    with locked(tmp_path, ""), pytest.raises(OutputError, match="somebody is at work; wait for it or name"), again:
        pass
    with locked(tmp_path, ""):
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "stands"), [(errno.EOPNOTSUPP, False), (errno.EIO, True)])
def test_a_file_system_without_locks_is_written_to(
    number: int, stands: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lock(_descriptor: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    with pytest.raises(OSError, match="Input/output") if stands else nullcontext(), locked(tmp_path, ""):
        pass
