"""A file that appears whole or not at all: written under a temporary name beside it, synced, then renamed.

The temporary name is fixed: what a killed process has left is written over. That of a new file is locked, too: two
processes at a time are refused.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lexlip_infer.errors import OutputError
from lexlip_infer.files.sync import sync_folder

__all__ = ["new_file", "refuse_existing", "write_whole"]


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that must not exist yet; it is there when the block has ended without an exception.

    Raises:
        OutputError: it exists, is being written by another process, or cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        refuse_existing(path)
        with partial.open("ab") as file:
            _own(file, partial, path)
            try:
                file.truncate(0)
                yield file
                file.flush()
                os.fsync(file.fileno())
                refuse_existing(path)
                partial.rename(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        sync_folder(path.parent)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place whole, over an older one if there is one.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None


def refuse_existing(path: Path, kind: str = "file") -> None:
    """Raise an OutputError where there is something already, a dangling link included; `kind` is what to name anew."""
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path}: exists, and nothing is written over; name a new {kind} or remove it")


def _own(file: BinaryIO, partial: Path, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between our open and our lock, another process may have finished with this very file.
        ours = partial.exists() and partial.stat().st_ino == os.fstat(file.fileno()).st_ino
    except BlockingIOError:
        ours = False
    if not ours:
        raise OutputError(f"{path}: is being written by another process; wait for it or name another file")
