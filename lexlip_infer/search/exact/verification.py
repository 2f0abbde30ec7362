"""Reading a whole index and comparing every byte with the manifest, which opening it does not."""

from __future__ import annotations

from pathlib import Path

from lexlip_infer.errors import InputError
from lexlip_infer.search.exact.engine import ExactEngine
from lexlip_infer.search.exact.manifest import IndexManifest, unreadable
from lexlip_infer.search.exact.segment import damaged, record_file

__all__ = ["verify"]


def verify(index: Path) -> IndexManifest:
    """Compare every file's hash, and check every invariant of the postings.

    Raises:
        OutputError: something is damaged or missing; the message names it.
    """
    engine = ExactEngine.open(index)
    for file in engine.manifest.files:
        try:
            intact = record_file(index, file.name) == file
        except OSError as error:
            raise unreadable(error) from None
        if not intact:
            raise damaged(index / file.name, "its sha256 does not match")
    for segment in engine.segments:
        try:
            segment.impacts.validate()
        except InputError as error:
            raise damaged(index / "segments" / segment.record.name, str(error)) from None
    return engine.manifest
