"""Shards of samples in webdataset's naming (`000017.jpg`, `000017.txt` or `.json`), read at random positions.

Training draws samples in any order, which a tar archive does not know. Its headers and captions are read once and
written beside it as `SHARD.index.jsonl`; the images are read in place. Compressed archives have no positions.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from lexlip_infer.files import replacing
from lexlip_infer.inputs.image_options import IMAGE_SUFFIXES
from lexlip_kernels.errors import InputError, OutputError
from lexlip_training.data.pair_table import CaptionedSource

__all__ = ["read_webdataset"]

_VERSION = 1
#: Bytes of a member that may be a caption.
_LONGEST = 2**24
_EXPECTED = 'expected an uncompressed tar of samples such as 017.jpg with 017.txt, or 017.json that has a "caption"'


def read_webdataset(shard: Path) -> Iterator[CaptionedSource]:
    """Samples that have an image and a caption, in the archive's order; the index is made where it is missing or old.

    Raises:
        InputError: the archive cannot be read, or holds no such sample.
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
        lines = list(_scan(shard))
        _write(index, [stamp, *lines])
    for line in lines:
        yield CaptionedSource(str(shard), tuple(line["captions"]), line["offset"], line["size"])


def _indexed(index: Path, stamp: dict[str, int]) -> list[dict[str, Any]] | None:
    """Lines of an index that is whole and of this very archive; it is never trusted further than its stamp."""
    try:
        head, *lines = map(json.loads, index.read_text("utf-8").splitlines())
    except (OSError, ValueError):
        return None
    return lines if head == {**stamp, "samples": len(lines)} else None


def _write(index: Path, lines: list[dict[str, Any]]) -> None:
    # Ranks may come here at once: each writes a file of its own, and any of them is right.
    partial = index.with_name(f".{index.name}.{os.getpid()}.partial")
    lines = [{**lines[0], "samples": len(lines) - 1}, *lines[1:]]
    try:
        with replacing(index, partial) as file:
            file.writelines(f"{json.dumps(line)}\n".encode() for line in lines)
    except OSError as error:
        raise OutputError(
            f"{index}: cannot be written ({error.strerror}); shards need a writable folder once"
        ) from None


def _scan(shard: Path) -> Iterator[dict[str, Any]]:
    found = False
    try:
        with tarfile.open(shard, "r:") as archive:
            for sample in _samples(archive):
                if sample.keys() == {"offset", "size", "captions"}:
                    found = True
                    yield sample
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{shard}: {error}; {_EXPECTED}") from None
    except ValueError as error:
        raise InputError(f"{shard}: a caption is malformed ({error}); {_EXPECTED}") from None
    except OSError as error:
        raise InputError(f"{shard}: cannot be read ({error.strerror or error})") from None
    if not found:
        raise InputError(f"{shard}: no sample has both an image and a caption; {_EXPECTED}")


def _samples(archive: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    """What was found under each key; members of one key are adjacent."""
    key, sample = "", dict[str, Any]()
    for member in archive:
        folder, slash, name = member.name.rpartition("/")
        stem, _, suffixes = name.partition(".")
        if not (member.isreg() and stem):
            continue
        if folder + slash + stem != key:
            yield sample
            key, sample = folder + slash + stem, {}
        if PurePosixPath(name.lower()).suffix in IMAGE_SUFFIXES:
            sample |= {"offset": member.offset_data, "size": member.size}
        elif suffixes.lower() in {"txt", "json"} and "captions" not in sample:
            sample |= _captions(archive, member, suffixes.lower())
    yield sample


def _captions(archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> dict[str, Any]:
    file = archive.extractfile(member)
    assert file is not None, "a regular file has contents"
    text = file.read(_LONGEST).decode("utf-8-sig")
    content = json.loads(text) if suffix == "json" else text
    if isinstance(content, dict):
        content = content.get("captions", content.get("caption"))
    captions = [content] if isinstance(content, str) else content
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        return {}
    kept = [caption.strip() for caption in captions if caption.strip()]
    return {"captions": kept} if kept else {}
