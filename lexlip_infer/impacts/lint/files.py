"""Files to check, and their lines: plain or gzip, damaged or not, each line with the place to name it by."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lexlip_infer.impacts.lint.findings import Findings

__all__ = ["collection_files", "numbered_lines"]

_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_ZSTANDARD = (".zst", ".zstd")


def collection_files(path: Path, findings: Findings) -> Iterator[Path]:
    """The JSON files that Anserini would index below `path`, in order of their names; others are findings.

    Raises:
        InputError: there is nothing at `path`, or no file.
    """
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; give a collection of JSON lines or a file of topics")
    found = sorted(file for file in path.rglob("*") if file.is_file())
    if not found:
        raise InputError(f"{path}: holds no file; give a collection of JSON lines")
    for file in found:
        if file.name.endswith(_ZSTANDARD):
            findings.add("zst-file", str(file))
        elif file.name.endswith(_SUFFIXES):
            yield file
        else:
            findings.add("foreign-file", str(file))


def numbered_lines(path: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    """Each line that is not blank and is UTF-8, with its place `path:number`.

    Raises:
        InputError: the file cannot be opened.
    """
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as lines:
            for number, data in enumerate(lines, start=1):
                place = f"{path}:{number}"
                try:
                    line = data.decode()
                except UnicodeDecodeError:
                    findings.add("not-utf-8", place)
                    continue
                if line.strip():
                    yield place, line.rstrip("\r\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        findings.add("damaged-file", str(path), str(error))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
