"""What a run has written, read back and compared with its manifest; nothing is repaired here, and nothing written."""

from __future__ import annotations

import gzip
from pathlib import Path

import pydantic

from lexlip_infer.collection.manifest import RUN_FORMAT_VERSION, RunManifest, ShardRecord
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.files import first_fault, read_hashed, read_version

__all__ = [
    "FAILURES",
    "MANIFEST",
    "TRUNCATED",
    "VECTORS",
    "check_finished",
    "check_shards",
    "read_finished",
    "read_manifest",
    "read_shard",
]

MANIFEST, FAILURES, TRUNCATED, VECTORS = "manifest.json", "failures.jsonl", "truncated.jsonl", "vectors"


def read_manifest(folder: Path) -> RunManifest:
    """The manifest of an output folder.

    Raises:
        OutputError: the folder is not the output of an encoding run, or of a newer version.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
        version = read_version(data)
        if version > RUN_FORMAT_VERSION:
            raise OutputError(
                f"{folder}: output format {version}; this version reads up to {RUN_FORMAT_VERSION}: "
                "pip install --upgrade lexlip-infer"
            )
        if version < RUN_FORMAT_VERSION:
            raise OutputError(
                f"{folder}: output format {version}, of an older version; this version reads {RUN_FORMAT_VERSION}: "
                "encode into a new folder"
            )
        return RunManifest.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise OutputError(
            f"{folder / MANIFEST}: {first_fault(error, 'contents')}; not as lexlip-encode wrote it: "
            "encode into a new folder"
        ) from None
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{folder}: not the output of lexlip-encode, {MANIFEST} cannot be read ({error.strerror})"
        ) from None


def read_finished(folder: Path) -> RunManifest:
    """The manifest of a run that has ended, after comparing names and sizes of its part files.

    Raises:
        InputError: the run was interrupted.
        OutputError: as `read_manifest` and `check_shards`.
    """
    manifest = read_manifest(folder)
    check_finished(folder, manifest)
    return manifest


def check_finished(folder: Path, manifest: RunManifest) -> None:
    """Refuse a run that has not ended, and part files that are not as it wrote them; see `read_finished`."""
    check_shards(folder, manifest)
    if not manifest.complete:
        raise InputError(f"{folder}: the run was interrupted; the same lexlip-encode command finishes it")


def check_shards(folder: Path, manifest: RunManifest) -> None:
    """Compare the names and sizes of the part files with the manifest.

    Raises:
        OutputError: somebody has edited, removed or added one since the run.
    """
    for shard in manifest.shards:
        path = folder / VECTORS / shard.name
        if not path.is_file() or path.stat().st_size != shard.size:
            raise _changed(folder, path)
    known = {shard.name for shard in manifest.shards}
    if not manifest.complete:
        known.add(manifest.next_shard_name)  # a kill may have come between the file and its entry
    foreign = sorted({path.name for path in (folder / VECTORS).glob("*")} - known)
    if foreign:
        raise OutputError(
            f"{folder / VECTORS / foreign[0]}: not written by this run, and Anserini would index it; move it elsewhere"
        )


def read_shard(folder: Path, shard: ShardRecord) -> bytes:
    """The lines of a part file, after comparing its hash.

    Raises:
        OutputError: it has changed since it was written, or cannot be read.
    """
    path = folder / VECTORS / shard.name
    try:
        data = read_hashed(path, shard.size, shard.sha256, lambda _size, _sha256: _changed(folder, path))
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from None
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _changed(folder: Path, path: Path) -> OutputError:
    return OutputError(f"{path}: missing or changed since it was written; remove {folder} and encode again")
