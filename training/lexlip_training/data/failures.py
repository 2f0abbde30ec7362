"""`data_failures.jsonl` of a run: which training images could not be decoded, and what took their place."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lexlip_kernels.errors import OutputError

__all__ = ["log_substitution"]


def log_substitution(file: Path, epoch: int, sample: int, substitute: int, path: str, error: str) -> None:
    """Append one line, in one write: workers of all ranks share the file.

    Raises:
        OutputError: it cannot be written.
    """
    row = {"epoch": epoch, "sample": sample, "substitute": substitute, "path": path, "error": error}
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, f"{json.dumps(row)}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error_:
        raise OutputError(f"{file}: cannot be written ({error_.strerror})") from None
