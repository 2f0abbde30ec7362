"""The exact engine's index: a folder of memory-mapped segments; each change happens whole or not at all.

Format, guarantees and commands: docs/search.md.
"""

from lexlip_infer.search.exact.building import IndexWriter, append, build_exact_index
from lexlip_infer.search.exact.changing import compact, delete, verify
from lexlip_infer.search.exact.engine import ExactEngine
from lexlip_infer.search.exact.folder import ImpactIndexFolder
from lexlip_infer.search.exact.manifest import INDEX_MANIFEST, IndexManifest, read_index_manifest

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
