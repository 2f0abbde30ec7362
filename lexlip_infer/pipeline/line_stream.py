"""JSON lines to a stream, for `lexlip-encode --output -`. Nothing is kept, so nothing can be continued."""

from __future__ import annotations

from typing import BinaryIO

from lexlip_infer.collection.manifest import PartRecord, RunManifest, RunTimings
from lexlip_infer.collection.part_file import Lines
from lexlip_infer.collection.parts import PartEnd

__all__ = ["LineStream"]


class LineStream:
    """An output as `OutputFolder` is one.

    Args:
        stream: flushed after every batch, so that whoever reads it need not wait.
        manifest: of a run that has finished nothing.
    """

    def __init__(self, stream: BinaryIO, manifest: RunManifest) -> None:
        self.manifest = manifest
        self._stream = stream

    def add(self, lines: Lines) -> None:
        """Write lines."""
        self._stream.write(lines.data)
        self._stream.flush()

    def end_part(self, end: PartEnd, timings: RunTimings) -> PartRecord | None:  # noqa: ARG002  (as a folder's)
        """A stream has no parts."""
        return None

    def complete(self) -> None:
        """All is written already."""

    def changed(self, where: str) -> Exception:
        """Never asked for: there are no finished parts to compare with."""
        raise AssertionError(where)
