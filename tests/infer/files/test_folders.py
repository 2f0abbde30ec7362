"""A folder that is held: nothing outside of it is read, written or removed, whatever a link in it says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.errors import OutputError
from lexlip_infer.files import Folder, HashedFile, new_file, new_folder, replacing, write_synced, write_whole


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a file in it, both of which have to stay as they are."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "keep").write_text("precious")
    return folder


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    return folder


#: Everything that writes or removes, on what is called "name".
CHANGES: dict[str, Callable[[Folder], Any]] = {
    "new": lambda folder: folder.new("name").close(),
    "changed": lambda folder: folder.changed("name").close(),
    "remove": lambda folder: folder.remove("name"),
    "remove_folder": lambda folder: folder.remove_folder("name"),
    "folder": lambda folder: folder.folder("name", create=True).close(),
    "below": lambda folder: folder.new("name/keep").close(),
    "remove below": lambda folder: folder.remove("name/keep"),
    "hashed": lambda folder: HashedFile("name", folder).close(),
    "synced": lambda folder: write_synced("name", b"", folder),
    "status": lambda folder: folder.status("name"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("target", ["outside/keep", "outside", "nowhere"])
def test_a_link_is_refused_by_name(
    target: str, change: Callable[[Folder], Any], inside: Path, outside: Path, tmp_path: Path
) -> None:
    (inside / "name").symlink_to(tmp_path / target)
    with Folder.open(inside) as folder, pytest.raises(OutputError, match="inside/name: is a symbolic link"):
        change(folder)
    assert (inside / "name").is_symlink()
    assert (outside / "keep").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "outside"]


@pytest.mark.parametrize("write", [new_file, replacing])
def test_no_temporary_name_is_written_through(write: Any, inside: Path, outside: Path) -> None:
    (inside / ".out.partial").symlink_to(outside / "keep")
    with pytest.raises(OutputError, match=r"\.out\.partial: is a symbolic link"), write(inside / "out"):
        pass
    assert (outside / "keep").read_text() == "precious"


def test_no_folder_is_emptied_through_a_link(inside: Path, outside: Path) -> None:
    (inside / ".out.partial").symlink_to(outside)
    with pytest.raises(OutputError, match=r"\.out\.partial: is a symbolic link"), new_folder(inside / "out"):
        pass
    (inside / "old").symlink_to(outside)
    with pytest.raises(OutputError, match="old: is a symbolic link"), new_folder(inside / "old", replace=True):
        pass
    assert (outside / "keep").read_text() == "precious"


def test_links_in_what_is_removed_are_not_followed(inside: Path, outside: Path) -> None:
    (inside / "old").mkdir()
    (inside / "old" / "link").symlink_to(outside)
    (inside / "link").symlink_to(outside)
    with Folder.open(inside) as folder:
        folder.remove_folder("old")
        assert folder.names() == ["link"]
        folder.empty()
        assert not folder.names()
    assert (outside / "keep").read_text() == "precious"


def test_the_path_that_the_user_named_may_be_a_link(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(inside)
    with Folder.open(tmp_path / "link") as folder:
        write_whole("name", b"x", folder)
    assert (inside / "name").read_bytes() == b"x"


def test_a_file_of_two_names_is_not_changed_under_the_other(inside: Path, outside: Path) -> None:
    os.link(outside / "keep", inside / "name")
    with Folder.open(inside) as folder:
        with pytest.raises(OutputError, match="name: is a hard link to a file that has other names"):
            folder.changed("name")
        with folder.new("name") as file:
            file.write(b"new")
    assert (inside / "name").read_bytes() == b"new"
    assert (outside / "keep").read_text() == "precious"


@pytest.mark.parametrize("change", ["new", "changed", "remove"])
def test_special_files_are_refused_and_not_waited_for(change: str, inside: Path) -> None:
    os.mkfifo(inside / "name")
    reader = os.open(inside / "name", os.O_RDONLY | os.O_NONBLOCK)
    with Folder.open(inside) as folder, pytest.raises(OutputError, match="name: is a FIFO, where a regular file"):
        CHANGES[change](folder)
    os.close(reader)
    assert (inside / "name").is_fifo()


def test_a_file_is_no_folder(inside: Path) -> None:
    (inside / "name").touch()
    with Folder.open(inside) as folder:
        with pytest.raises(OutputError, match="name: is no folder"):
            folder.remove_folder("name")
        with pytest.raises(NotADirectoryError):
            folder.folder("name")
        assert folder.status("name/below") is None


@pytest.mark.parametrize("name", ["..", "../outside/keep", "a/../b", "/etc/passwd", "", ".", "a//b", "a\0b"])
def test_names_that_climb_are_refused(name: str, inside: Path) -> None:
    with Folder.open(inside) as folder, pytest.raises(OutputError, match="no name of anything in this folder"):
        folder.status(name)


def test_names_of_several_parts(inside: Path) -> None:
    (inside / "a" / "b").mkdir(parents=True)
    with Folder.open(inside) as folder:
        write_whole("a/b/file", b"x", folder)
        folder.move("a/b/file", folder, "a/file")
        status = folder.status("a/file")
        assert status is not None
        assert status.st_size == 1
        assert folder.status("a/b/file") is None
        with pytest.raises(FileNotFoundError, match="inside/a/c"):
            folder.new("a/c/file")
        folder.remove("a/file")
        folder.remove("a/file")
        folder.remove_folder("a")
        folder.remove_folder("a")
        assert not folder.names()


def test_one_holds_a_folder(inside: Path) -> None:
    with Folder.open(inside) as first:
        first.lock("")
        with Folder.open(inside) as second, pytest.raises(OutputError, match="busy; wait for it"):
            second.lock("busy")
    first.close()
    with Folder.open(inside) as third:
        third.lock("")
