"""`failures.jsonl` and `truncated.jsonl`: appended to before the manifest counts what was appended as a part's."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lexlip_infer.collection.encoded_batch import Failure
from lexlip_infer.errors import OutputError
from lexlip_infer.files import sync_file

__all__ = ["append_failures", "check_failures", "failure_line"]


def failure_line(failure: Failure) -> str:
    """Its line, without an end. ASCII with escapes: an id may hold bytes that are no text, and must not be lost."""
    return json.dumps(asdict(failure))


def check_failures(path: Path, size: int, exact: bool) -> None:
    """Compare the ledger with the manifest.

    Args:
        path: of the ledger; it need not exist before a first part is finished.
        size: bytes that the finished parts count.
        exact: whether there may be no more; a kill leaves those of a part that will be written again.

    Raises:
        OutputError: it was changed, or is missing.
    """
    found = path.stat().st_size if path.exists() else 0
    if found < size or (exact and found != size):
        raise OutputError(
            f"{path}: {found:,} bytes; the manifest counts {size:,}: it was changed since it was written; "
            f"remove {path.parent} and encode again"
        )


def append_failures(path: Path, size: int, failures: Sequence[Failure]) -> int:
    """Write failures after the first `size` bytes, whatever stood there, and bring them to the disk.

    Returns:
        How many bytes they take.
    """
    data = "".join(f"{failure_line(failure)}\n" for failure in failures).encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(size)
        file.seek(size)
        file.write(data)
        sync_file(file)
    return len(data)
