"""A bundle folder in the making: its files, hashed as they are written, and what may be replaced by it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tokenizers import Tokenizer

from lexlip_infer.bundle import MANIFEST, Bundle
from lexlip_infer.errors import OutputError

#: In a bundle: whose work the weights were trained on.
ATTRIBUTION = "ATTRIBUTION.md"


class BundleFolder:
    """A bundle in the making: files by path, written, hashed and forgotten; all together may not fit in memory.

    Args:
        folder: where they go; must exist.

    Attributes:
        records: what the manifest says of each file written so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, dict[str, str | int]] = {}

    def __setitem__(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.records[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def check_replaceable(output: Path) -> None:
    """Refuse to remove anything that no export has written."""
    if not output.exists():
        return
    if not (output / MANIFEST).exists():
        raise OutputError(f"{output}: exists and is not a bundle; name a new folder or remove it")
    known = {output / name for name in (MANIFEST, *Bundle.open(output).manifest.files)}
    foreign = [path for path in output.rglob("*") if path not in known and (path.is_symlink() or not path.is_dir())]
    if foreign:
        raise OutputError(f"{foreign[0]}: not part of the bundle that would be replaced; move it away first")


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Without truncation and padding: those are the manifest's."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy
