"""New checksums over damaged files: what somebody does who wants the damage to reach the reader behind them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from lexlip_infer.search.exact.manifest import IndexManifest

#: Larger files get their size alone: to hash gigabytes of nothing takes longer than a trial.
MOST = 1 << 26

#: What lists files, by kind; a checkpoint has no checksums.
MANIFESTS = {"output": "manifest.json", "index": "index.json", "bundle": "lexlip.json"}


#: Files that nothing has a checksum of.
_UNCHECKED = {"output": {"manifest.json", "failures.jsonl", "truncated.jsonl"}, "bundle": {"lexlip.json"}}


def has_checksum(kind: str, name: str) -> bool:
    """Whether damage to a file of this name shows."""
    return kind != "checkpoint" and name not in _UNCHECKED.get(kind, ())


def seal(kind: str, folder: Path) -> bool:
    """Let the manifest agree with the files as they are; false where it is beyond that."""
    name = MANIFESTS.get(kind)
    if name is None:
        return True
    path = folder / name
    try:
        if path.stat().st_size > MOST or not path.is_file():
            return False
        manifest = json.loads(path.read_bytes())
        for file, record in _records(kind, manifest):
            _measure(folder / file, record)
        if kind == "output" and (folder / "failures.jsonl").is_file():
            _resize_failures(manifest, (folder / "failures.jsonl").stat().st_size)
        text = json.dumps(manifest, indent=1)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    if kind == "index":
        with contextlib.suppress(ValueError, RecursionError):
            text = IndexManifest.model_validate_json(text).sealed().model_dump_json()
    path.write_text(text)
    return True


def _records(kind: str, manifest: Any) -> list[tuple[str, dict[str, Any]]]:
    if kind == "output":
        return [(f"vectors/{part['name']}", part) for part in manifest["shards"]]
    if kind == "bundle":
        return list(manifest["files"].items())
    files = [manifest["vocabulary"]]
    for segment in manifest["segments"]:
        files += [*segment["files"], *filter(None, [segment.get("deletions")])]
    return [(file["name"], file) for file in files]


def _measure(path: Path, record: dict[str, Any]) -> None:
    # What is no file, or a name that is none, stays as it is.
    with contextlib.suppress(OSError, ValueError):
        if path.is_file() and not path.is_symlink():
            record["size"] = path.stat().st_size
            if record["size"] <= MOST:
                record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()


def _resize_failures(manifest: Any, size: int) -> None:
    parts = manifest["shards"]
    if parts:
        parts[-1]["failures_size"] = size - sum(part["failures_size"] for part in parts[:-1])
