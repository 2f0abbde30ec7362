"""A file that appears whole or not at all: written under a temporary name beside it, synced, then renamed.

The temporary name is fixed and locked: what a killed process has left is written over, and two at a time are refused.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lexlip_infer.errors import OutputError

__all__ = ["new_file"]


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that must not exist yet; it is there when the block has ended without an exception.

    Raises:
        OutputError: it exists, is being written by another process, or cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        _refuse_existing(path)
        with partial.open("ab") as file:
            _own(file, partial, path)
            try:
                file.truncate(0)
                yield file
                file.flush()
                os.fsync(file.fileno())
                _refuse_existing(path)
                partial.rename(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        _sync_folder(path.parent)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path}: exists, and nothing is written over; name a new file or remove it")


def _own(file: BinaryIO, partial: Path, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between our open and our lock, another process may have finished with this very file.
        ours = partial.exists() and partial.stat().st_ino == os.fstat(file.fileno()).st_ino
    except BlockingIOError:
        ours = False
    if not ours:
        raise OutputError(f"{path}: is being written by another process; wait for it or name another file")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
