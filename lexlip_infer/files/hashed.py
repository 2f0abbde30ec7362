"""Files that a manifest names by size and hash, and the faults of a manifest, said in one line.

What the message says around it is the business of whoever knows what kind of file it is; nothing is repaired here.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import pydantic
from pydantic import BaseModel, Field

from lexlip_infer.files.durable import sync_file, sync_folder


class HashedFile:
    """A file that is hashed while it is written.

    Args:
        path: written over if it exists.

    Attributes:
        path: of the file.
        size: bytes so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = path.open("wb")

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def move(self, path: Path) -> None:
        """Bring the file to the disk, close it, and give it its name, over an older file if there is one.

        Raises:
            OSError: it cannot be written.
        """
        sync_file(self._file)
        self.close()
        self.path.replace(path)
        sync_folder(path.parent)

    def close(self) -> None:
        """Close the file, complete or not."""
        # A full disk fails the flush of close() as well; the first error is the one to report.
        with contextlib.suppress(OSError):
            self._file.close()


def hash_file(path: Path) -> str:
    """Sha256 of a file's contents, whatever its size.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_hashed(path: Path, size: int, sha256: str, changed: Callable[[int, str], Exception]) -> bytes:
    """The contents of a file, if they are what a manifest says.

    Args:
        path: of the file.
        size: bytes, as the manifest says.
        sha256: likewise.
        changed: makes the error for other contents from their size and hash.

    Raises:
        OSError: it cannot be read.
        Exception: what `changed` made.
    """
    data = path.read_bytes()
    actual = hashlib.sha256(data).hexdigest()
    if (len(data), actual) != (size, sha256):
        raise changed(len(data), actual)
    return data


class _Version(BaseModel):
    format_version: int = Field(ge=1)


def read_version(data: bytes) -> int:
    """`format_version` of a manifest: compared before all else is read, as a newer version has unknown fields.

    Raises:
        pydantic.ValidationError: there is none.
    """
    return _Version.model_validate_json(data).format_version


def first_fault(error: pydantic.ValidationError, top: str = "") -> str:
    """What is wrong with a manifest and where, such as "settings.scale: Input should be greater than 0".

    Args:
        error: of pydantic, which spreads over many lines.
        top: stands for the place where the file as a whole is at fault.
    """
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])).encode("unicode_escape").decode() or top
    return f"{place}: {first['msg']}" if place else str(first["msg"])
