"""The exact engine's index: a folder of memory-mapped segments; each change happens whole or not at all.

Format, guarantees and commands: docs/search.md. Names are loaded on first use: a search needs nothing that builds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexlip_infer.search.exact.building import IndexWriter, append, build_exact_index
    from lexlip_infer.search.exact.changing import compact, delete, verify
    from lexlip_infer.search.exact.engine import ExactEngine
    from lexlip_infer.search.exact.folder import ImpactIndexFolder
    from lexlip_infer.search.exact.manifest import INDEX_MANIFEST, IndexManifest, read_index_manifest

_HOMES = {
    "INDEX_MANIFEST": "manifest",
    "ExactEngine": "engine",
    "ImpactIndexFolder": "folder",
    "IndexManifest": "manifest",
    "IndexWriter": "building",
    "append": "building",
    "build_exact_index": "building",
    "compact": "changing",
    "delete": "changing",
    "read_index_manifest": "manifest",
    "verify": "changing",
}

__all__ = [
    "INDEX_MANIFEST",
    "ExactEngine",
    "ImpactIndexFolder",
    "IndexManifest",
    "IndexWriter",
    "append",
    "build_exact_index",
    "compact",
    "delete",
    "read_index_manifest",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
