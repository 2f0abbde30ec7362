"""One part file while it is being written: under a temporary name, hashed on the way, compressed if asked for."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lexlip_infer.collection.encoded_batch import Failure
from lexlip_infer.collection.manifest import ShardRecord
from lexlip_infer.collection.parts import PartEnd
from lexlip_infer.files import HashedFile

__all__ = ["Lines", "ShardWriter"]

#: For zlib: a stream of gzip's format. Its header has neither name nor time, so that equal lines make equal bytes.
_GZIP = 31


@dataclass(frozen=True, slots=True)
class Lines:
    """An encoded batch, ready to be written.

    Attributes:
        data: JSON lines.
        documents: how many.
        empty: how many of them hold the placeholder alone.
        impacts: in all of them.
        failures: inputs that gave no line.
        truncated: inputs that gave one although they break off.
    """

    data: bytes
    documents: int
    empty: int
    impacts: int
    failures: list[Failure] = field(default_factory=list)
    truncated: list[Failure] = field(default_factory=list)


class ShardWriter:
    """A part file.

    Args:
        path: its temporary name.
        compress: "gz" or "none".
    """

    def __init__(self, path: Path, compress: Literal["none", "gz"]) -> None:
        self.path = path
        self.failures: list[Failure] = []
        self.truncated: list[Failure] = []
        self._documents = self._empty = self._impacts = 0
        self._file = HashedFile(path)
        self._compressor = zlib.compressobj(wbits=_GZIP) if compress == "gz" else None

    def add(self, lines: Lines) -> None:
        """Append finished lines, and remember what went wrong."""
        self._file.write(lines.data if self._compressor is None else self._compressor.compress(lines.data))
        self.failures += lines.failures
        self.truncated += lines.truncated
        self._documents += lines.documents
        self._empty += lines.empty
        self._impacts += lines.impacts

    def sync(self) -> None:
        """Finish the file and bring it to the disk."""
        if self._compressor is not None:
            self._file.write(self._compressor.flush())
        self._file.sync()

    def close(self) -> None:
        """Close the file, committed or not."""
        self._file.close()

    def record(self, name: str, end: PartEnd, failures_size: int, truncated_size: int) -> ShardRecord:
        """The manifest's entry for this shard, whose lines in the two ledgers have these sizes."""
        return ShardRecord(
            name=name,
            documents=self._documents,
            failed=len(self.failures),
            empty=self._empty,
            impacts=self._impacts,
            size=self._file.size,
            sha256=self._file.sha256,
            inputs=end.inputs,
            inputs_digest=end.digest,
            failures_size=failures_size,
            truncated=len(self.truncated),
            truncated_size=truncated_size,
        )
