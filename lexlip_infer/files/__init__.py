"""Files and folders that appear whole or not at all: the ground floor, which alone makes anything durable.

What is written has a temporary name beside its place; it is synced, then renamed. Temporary names are fixed, so that
what a killed process has left is written over and never piles up. New files and folders are locked while they are
written, too: two processes at a time are refused. The lock is the system's: it leaves no file behind and ends with its
process, however that ends. Everything is relative to a folder that is held (`folders.py`), so no link is written
through; `reading.py` reads what may come from strangers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lexlip_infer.errors import OutputError
from lexlip_infer.files.folders import Folder, lock, locked
from lexlip_infer.files.reading import (
    MOST_JSON,
    first_fault,
    hash_file,
    hash_opened,
    open_regular,
    read_hashed,
    read_json,
    read_regular,
    read_version,
)

__all__ = [
    "MOST_JSON",
    "Folder",
    "HashedFile",
    "check_new_path",
    "first_fault",
    "hash_file",
    "hash_opened",
    "locked",
    "new_file",
    "new_folder",
    "open_regular",
    "read_hashed",
    "read_json",
    "read_regular",
    "read_version",
    "refuse_existing",
    "replacing",
    "sync_file",
    "sync_folder",
    "sync_tree",
    "unwritable",
    "write_synced",
    "write_whole",
    "writing",
]


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that must not exist yet; it is there when the block has ended without an exception.

    Raises:
        OutputError: it exists, is being written by another process, or cannot be written.
    """
    partial = _partial(path.name)
    try:
        refuse_existing(path)
        with Folder.open(path.parent) as folder, folder.changed(partial) as file:
            # Between our open and our lock, another process may have finished with this very file.
            there = lock(file.fileno()) and folder.status(partial)
            if not (there and os.path.samestat(there, os.fstat(file.fileno()))):
                raise OutputError(f"{path}: is being written by another process; wait for it or name another file")
            try:
                file.truncate(0)
                yield file
                sync_file(file)
                refuse_existing(path)
                folder.move(partial, folder, path.name)
            except BaseException:
                folder.remove(partial)
                raise
    except OutputError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def new_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """An empty folder to fill, which has the name `folder` when the block has ended without an exception.

    Args:
        folder: to make, with those above it.
        replace: remove what is there already, in the last moment, instead of refusing it.

    Raises:
        OutputError: there is something already, another process is filling it, or it cannot be written.
    """
    try:
        if not replace:
            refuse_existing(folder, "folder")
        partial = _partial(folder.name)
        with Folder.open(folder.parent, create=True) as parent, parent.folder(partial, create=True) as held:
            held.lock(f"another process is writing into {held.path}")
            held.empty()
            try:
                yield held.path
                sync_tree(held.path)
                if replace:
                    parent.remove_folder(folder.name)
                refuse_existing(folder, "folder")
                parent.move(partial, parent, folder.name)
            except BaseException:
                with suppress(OSError):
                    parent.remove_folder(partial)
                raise
    except OutputError:
        raise
    except OSError as error:
        raise unwritable(folder, error) from error


@contextmanager
def replacing(
    path: Path | str, folder: Folder | None = None, *, partial: str | None = None, beside: Folder | None = None
) -> Iterator[BinaryIO]:
    """Write a file that takes the place of an older one, if there is one, when the block has ended without exception.

    Args:
        path: of the file; a name, where `folder` is given.
        folder: that it is in.
        partial: its temporary name, where the usual one does not do.
        beside: folder that it is in until then, on the same file system; `folder` when absent.

    Raises:
        OutputError: a link stands in the place of its temporary name.
        OSError: it cannot be written.
    """
    with _placed(path, folder) as (place, name):
        scratch, partial = beside or place, partial or _partial(name)
        file = scratch.new(partial)
        try:
            with file:
                yield file
                sync_file(file)
            scratch.move(partial, place, name)
        except BaseException:
            scratch.remove(partial)
            raise


def write_whole(path: Path | str, data: bytes, folder: Folder | None = None) -> None:
    """Put a file in place whole, over an older one if there is one; arguments as of `replacing`.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with replacing(path, folder) as file:
            file.write(data)
    except OutputError:
        raise
    except OSError as error:
        raise unwritable(path if folder is None else folder.path / path, error) from None


def write_synced(path: Path | str, data: bytes, folder: Folder | None = None) -> None:
    """Write a file that nobody looks for yet; arguments as of `replacing`.

    Raises:
        OutputError: a link stands in its place.
        OSError: it cannot be written.
    """
    with _placed(path, folder) as (place, name), place.new(name) as file:
        file.write(data)
        sync_file(file)


def sync_file(file: BinaryIO) -> None:
    """Bring what was written so far to the disk.

    Raises:
        OSError: the system cannot.
    """
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk: a rename that was not synced may be lost with the power.

    Raises:
        OSError: the system cannot.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring a folder to the disk with all that is below it, files that others wrote included.

    Raises:
        OSError: the system cannot.
    """
    for path in (*folder.rglob("*"), folder):
        sync_folder(path)


def refuse_existing(path: Path, kind: str = "file") -> None:
    """Raise an OutputError where there is something already, a dangling link included; `kind` is what to name anew."""
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path}: exists, and nothing is written over; name a new {kind} or remove it")


def check_new_path(path: Path) -> None:
    """Refuse a place where no new file can be written, before minutes of work and not after them.

    Raises:
        OutputError: the file exists, or its folder does not.
    """
    refuse_existing(path)
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A full disk or a missing permission, said in one line that names the file.

    Raises:
        OutputError: instead of an OSError.
    """
    try:
        yield
    except OutputError:  # says so already, and is an OSError too
        raise
    except OSError as error:
        raise unwritable(error.filename or folder, error) from error


def unwritable(path: Path | str, error: OSError) -> OutputError:
    """The error for what could not be written."""
    reason = error.strerror or str(error)
    if "requested and" in reason:  # numpy counts what fitted, and says nothing of the reason
        reason += "; is the disk full?"
    return OutputError(f"{path}: cannot be written ({reason})")


def _partial(name: str) -> str:
    above, slash, last = name.rpartition("/")
    return f"{above}{slash}.{last}.partial"


@contextmanager
def _placed(path: Path | str, folder: Folder | None) -> Iterator[tuple[Folder, str]]:
    """The folder of a path that the user named, or the one that is given, and the name in it."""
    if folder is not None:
        yield folder, str(path)
        return
    path = Path(path)
    try:
        parent = Folder.open(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    with parent:
        yield parent, path.name


class HashedFile:
    """A file that is hashed while it is written.

    Args:
        name: one that is there is removed.
        folder: that it is in.

    Attributes:
        size: bytes so far.
    """

    def __init__(self, name: str, folder: Folder) -> None:
        self.size = 0
        self._name, self._folder = name, folder
        self._hash = hashlib.sha256()
        self._file = folder.new(name)

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def move(self, name: str, folder: Folder) -> None:
        """Bring the file to the disk, close it, and give it its place, over an older file if there is one.

        Raises:
            OSError: it cannot be written.
        """
        sync_file(self._file)
        self.close()
        self._folder.move(self._name, folder, name)

    def close(self) -> None:
        """Close the file, complete or not."""
        # A full disk fails the flush of close() as well; the first error is the one to report.
        with suppress(OSError):
            self._file.close()
