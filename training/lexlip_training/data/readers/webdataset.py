"""Shards of samples in webdataset's naming (`000017.jpg`, `000017.txt` or `.json`), read at random positions.

Training draws samples in any order, which a tar archive does not know. Its headers and captions are read once and
written beside it as `SHARD.index.jsonl`; the images are read in place. Compressed archives have no positions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lexlip_infer.datasets.captioned_images import CaptionedImage
from lexlip_infer.datasets.webdataset import read_shard
from lexlip_infer.files import read_regular, replacing
from lexlip_kernels.errors import InputError, OutputError

#: Of the index; 1 was made by a reader that took damaged archives for finished ones.
_VERSION = 2

#: Bytes of an index; a sample takes some two hundred.
MOST_INDEX = 256_000_000


def read_webdataset(shard: Path) -> Iterator[CaptionedImage]:
    """Samples that have an image and a caption, in the archive's order; the index is made where it is missing or old.

    Raises:
        InputError: the archive cannot be read as a whole, or holds no such sample; see `read_shard`.
        OutputError: the index cannot be written beside it.
    """
    try:
        status = shard.stat()
    except OSError as error:
        raise InputError(f"{shard}: cannot be read ({error.strerror})") from None
    stamp = {"version": _VERSION, "size": status.st_size, "modified_ns": status.st_mtime_ns}
    index = shard.with_name(f"{shard.name}.index.jsonl")
    lines = _indexed(index, stamp)
    if lines is None:
        found = list(read_shard(shard))
        lines = [{"offset": image.offset, "size": image.size, "captions": list(image.captions)} for image in found]
        _write(index, [stamp, *lines])
    for line in lines:
        yield CaptionedImage(str(shard), tuple(line["captions"]), line["offset"], line["size"])


def _indexed(index: Path, stamp: dict[str, int]) -> list[dict[str, Any]] | None:
    """Lines of an index that is whole and of this very archive; it is never trusted further than its stamp."""
    try:
        data = read_regular(index, MOST_INDEX, refuse=ValueError)
        head, *lines = map(json.loads, data.decode().splitlines())
        if head != {**stamp, "samples": len(lines)}:
            return None
        inside = all(0 <= int(line["offset"]) <= stamp["size"] - int(line["size"]) for line in lines)
        captioned = all(isinstance(caption, str) for line in lines for caption in line["captions"])
        return lines if inside and captioned else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _write(index: Path, lines: list[dict[str, Any]]) -> None:
    # Ranks may come here at once: each writes a file of its own, and any of them is right.
    partial = f".{index.name}.{os.getpid()}.partial"
    lines = [{**lines[0], "samples": len(lines) - 1}, *lines[1:]]
    try:
        with replacing(index, partial=partial) as file:
            file.writelines(f"{json.dumps(line)}\n".encode() for line in lines)
    except OSError as error:
        raise OutputError(
            f"{index}: cannot be written ({error.strerror}); shards need a writable folder once"
        ) from None
