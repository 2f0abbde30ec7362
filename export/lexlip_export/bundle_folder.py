"""A bundle in the making: files are written, hashed and forgotten; all of them together may not fit in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lexlip_infer.bundle import FileRecord

__all__ = ["BundleFolder"]


class BundleFolder:
    """Files by their path in the bundle.

    Args:
        folder: where they go; must exist.

    Attributes:
        records: what the manifest says of each file written so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, FileRecord] = {}

    def __setitem__(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.records[name] = FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
