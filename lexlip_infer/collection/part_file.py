"""One part file while it is being written, and the ledgers of what went wrong with its inputs.

A part is hashed on the way to the disk, under a temporary name, and compressed if asked for. `failures.jsonl` and
`truncated.jsonl` are appended to before the manifest counts what was appended as the part's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from lexlip_infer.collection.manifest import FAILURES, PartRecord
from lexlip_infer.collection.parts import PartEnd
from lexlip_infer.errors import OutputError
from lexlip_infer.files import Folder, HashedFile, open_regular, sync_file
from lexlip_infer.files.reading import bounded_lines

#: Bytes of a line in a ledger.
_LONGEST_FAILURE = 2**20

#: For zlib: a stream of gzip's format. Its header has neither name nor time, so that equal lines make equal bytes.
_GZIP = 31


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one input, as a line of `failures.jsonl`, or of `truncated.jsonl` if it was accepted.

    Attributes:
        id: of the input.
        path: where it was found.
        stage: "read" or "decode".
        error: one line.
    """

    id: str
    path: str
    stage: str
    error: str

    def line(self) -> str:
        """Without an end. ASCII with escapes: an id may hold bytes that are no text, and must not be lost."""
        return json.dumps(asdict(self))


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
        texts_cut: how many were longer than the model takes.
        lifted: impacts of 1 whose weight would round to 0.
    """

    data: bytes
    documents: int
    empty: int
    impacts: int
    failures: list[Failure] = field(default_factory=list)
    truncated: list[Failure] = field(default_factory=list)
    texts_cut: int = 0
    lifted: int = 0


class PartFile:
    """A part file.

    Args:
        name: of the file, now and later.
        folder: that it is in while it is written.
        compress: "gz" or "none".
    """

    def __init__(self, name: str, folder: Folder, compress: Literal["none", "gz"]) -> None:
        self.failures: list[Failure] = []
        self.truncated: list[Failure] = []
        self._documents = self._empty = self._impacts = self._texts_cut = self._lifted = 0
        self._name, self._file = name, HashedFile(name, folder)
        self._compressor = zlib.compressobj(wbits=_GZIP) if compress == "gz" else None

    def add(self, lines: Lines) -> None:
        """Append finished lines, and remember what went wrong."""
        self._file.write(lines.data if self._compressor is None else self._compressor.compress(lines.data))
        self.failures += lines.failures
        self.truncated += lines.truncated
        self._documents += lines.documents
        self._empty += lines.empty
        self._impacts += lines.impacts
        self._texts_cut += lines.texts_cut
        self._lifted += lines.lifted

    def commit(self, folder: Folder) -> None:
        """Finish the file, bring it to the disk and move it to this folder."""
        if self._compressor is not None:
            self._file.write(self._compressor.flush())
        self._file.move(self._name, folder)

    def close(self) -> None:
        """Close the file, committed or not."""
        self._file.close()

    def record(self, end: PartEnd, failures_size: int, truncated_size: int) -> PartRecord:
        """The manifest's entry for this part, whose lines in the two ledgers have these sizes."""
        return PartRecord(
            name=self._name,
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
            texts_cut=self._texts_cut,
            lifted=self._lifted,
        )


def check_ledger(folder: Folder, name: str, size: int, exact: bool) -> None:
    """Compare a ledger with the manifest.

    Args:
        folder: of the output.
        name: of the ledger; it need not exist before a first part is finished.
        size: bytes that the finished parts count.
        exact: whether there may be no more; a kill leaves those of a part that will be written again.

    Raises:
        OutputError: it was changed, is missing, or is no regular file.
    """
    status = folder.file_status(name)
    found = 0 if status is None else status.st_size
    if found < size or (exact and found != size):
        raise OutputError(
            f"{folder.path / name}: {found:,} bytes; the manifest counts {size:,}: it was changed since it was "
            f"written; remove {folder.path} and encode again"
        )


def append_failures(folder: Folder, name: str, size: int, failures: Sequence[Failure]) -> int:
    """Write failures after the first `size` bytes of a ledger, whatever stood there, and bring them to the disk.

    Returns:
        How many bytes they take.
    """
    data = "".join(f"{failure.line()}\n" for failure in failures).encode()
    with folder.changed(name) as file:
        file.truncate(size)
        file.seek(size)
        file.write(data)
        sync_file(file)
    return len(data)


def read_failures(output: Path) -> tuple[Failure, ...]:
    """What could not be encoded, of an output folder.

    Raises:
        OutputError: its ledger is missing, or not as lexlip-encode wrote it.
    """

    def refuse(reason: str) -> OutputError:
        return OutputError(f"{output / FAILURES}: {reason}")

    failures = []
    try:
        with Folder.open(output) as folder, open_regular(FAILURES, refuse=refuse, folder=folder) as file:
            for line in bounded_lines(file, _LONGEST_FAILURE, refuse=refuse):
                found = json.loads(line)
                failures.append(Failure(*(str(found[name]) for name in ("id", "path", "stage", "error"))))
    except OutputError:
        raise
    except OSError as error:
        raise refuse(f"cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise refuse(f"line {len(failures) + 1} is not as lexlip-encode wrote it; encode into a new folder") from None
    return tuple(failures)
