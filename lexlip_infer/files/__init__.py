"""Files and folders that appear whole or not at all, locks, and what a manifest names by hash: the ground floor.

What is written has a temporary name beside its place; it is synced, then renamed. Nothing else makes anything durable.

Temporary names are fixed, so that what a killed process has left is written over and never piles up. New files and
folders are locked while they are written, too: two processes at a time are refused. The lock is the system's: it
leaves no file behind and ends with its process, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pydantic
from pydantic import BaseModel, Field

from lexlip_infer.errors import OutputError

#: What file systems answer that cannot lock (some network ones); to refuse to run there would be worse.
_CANNOT_LOCK = {errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that must not exist yet; it is there when the block has ended without an exception.

    Raises:
        OutputError: it exists, is being written by another process, or cannot be written.
    """
    partial = _partial(path)
    try:
        refuse_existing(path)
        with partial.open("ab") as file:
            # Between our open and our lock, another process may have finished with this very file.
            if not (
                _lock(file.fileno()) and partial.exists() and os.path.samestat(partial.stat(), os.fstat(file.fileno()))
            ):
                raise OutputError(f"{path}: is being written by another process; wait for it or name another file")
            try:
                file.truncate(0)
                yield file
                sync_file(file)
                refuse_existing(path)
                partial.rename(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        sync_folder(path.parent)
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
    partial = _partial(folder)
    try:
        if not replace:
            refuse_existing(folder, "folder")
        partial.mkdir(parents=True, exist_ok=True)
        with locked(partial, f"another process is writing into {partial}"):
            _empty(partial)
            try:
                yield partial
                sync_tree(partial)
                if replace and folder.exists():
                    shutil.rmtree(folder)
                refuse_existing(folder, "folder")
                partial.rename(folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        sync_folder(folder.parent)
    except OutputError:
        raise
    except OSError as error:
        raise unwritable(folder, error) from error


@contextmanager
def replacing(path: Path, partial: Path | None = None) -> Iterator[BinaryIO]:
    """Write a file that takes the place of an older one, if there is one, when the block has ended without exception.

    Args:
        path: of the file.
        partial: its temporary name, where the usual one does not do; on the same file system.

    Raises:
        OSError: it cannot be written.
    """
    partial = _partial(path) if partial is None else partial
    try:
        with partial.open("wb") as file:
            yield file
            sync_file(file)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place whole, over an older one if there is one.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise unwritable(path, error) from None


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that nobody looks for yet.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
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


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Hold an existing folder while the block runs: two that write there would spoil each other's files.

    Args:
        folder: to hold.
        busy: what is the matter if another process holds it, for the message.

    Raises:
        OutputError: another process holds it.
        OSError: it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(descriptor):
            raise OutputError(f"{busy}; wait for it or name another folder")
        yield
    finally:
        os.close(descriptor)


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


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
    return True


class HashedFile:
    """A file that is hashed while it is written.

    Args:
        path: written over if it exists.

    Attributes:
        path: of the file.
        size: bytes so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = path.open("wb")

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def move(self, path: Path) -> None:
        """Bring the file to the disk, close it, and give it its name, over an older file if there is one.

        Raises:
            OSError: it cannot be written.
        """
        sync_file(self._file)
        self.close()
        self.path.replace(path)
        sync_folder(path.parent)

    def close(self) -> None:
        """Close the file, complete or not."""
        # A full disk fails the flush of close() as well; the first error is the one to report.
        with suppress(OSError):
            self._file.close()


def hash_file(path: Path) -> str:
    """Sha256 of a file's contents, whatever its size.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_hashed(path: Path, size: int, sha256: str, changed: Callable[[int, str], Exception]) -> bytes:
    """The contents of a file, if they are what a manifest says.

    Args:
        path: of the file.
        size: bytes, as the manifest says.
        sha256: likewise.
        changed: makes the error for other contents from their size and hash.

    Raises:
        OSError: it cannot be read.
        Exception: what `changed` made.
    """
    data = path.read_bytes()
    actual = hashlib.sha256(data).hexdigest()
    if (len(data), actual) != (size, sha256):
        raise changed(len(data), actual)
    return data


class _Version(BaseModel):
    format_version: int = Field(ge=1)


def read_version(data: bytes) -> int:
    """`format_version` of a manifest: compared before all else is read, as a newer version has unknown fields.

    Raises:
        pydantic.ValidationError: there is none.
    """
    return _Version.model_validate_json(data).format_version


def first_fault(error: pydantic.ValidationError, top: str = "") -> str:
    """What is wrong with a manifest and where, such as "settings.scale: Input should be greater than 0".

    Args:
        error: of pydantic, which spreads over many lines.
        top: stands for the place where the file as a whole is at fault.
    """
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])).encode("unicode_escape").decode() or top
    return f"{place}: {first['msg']}" if place else str(first["msg"])
