"""Folders on the disk and not only in memory: a rename that was not synced may be lost with the power."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["sync_folder", "sync_tree"]


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk.

    Raises:
        OSError: the system cannot.
    """
    _sync(folder)


def sync_tree(folder: Path) -> None:
    """Bring a folder to the disk with all that is below it, files that others wrote included.

    Raises:
        OSError: the system cannot.
    """
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
