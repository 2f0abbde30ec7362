"""A folder that appears whole or not at all: filled under a temporary name beside it, synced, then renamed.

The temporary name is fixed and locked: what a killed process has left is removed, and two at a time are refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lexlip_infer.errors import OutputError
from lexlip_infer.files.folder_lock import locked
from lexlip_infer.files.new_file import refuse_existing
from lexlip_infer.files.sync import sync_folder, sync_tree

__all__ = ["new_folder"]


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which has the name `folder` when the block has ended without an exception.

    Raises:
        OutputError: there is something already, another process is filling it, or it cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        refuse_existing(folder, "folder")
        partial.mkdir(parents=True, exist_ok=True)
        with locked(partial, "process"):
            _empty(partial)
            try:
                yield partial
                sync_tree(partial)
                refuse_existing(folder, "folder")
                partial.rename(folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        sync_folder(folder.parent)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
