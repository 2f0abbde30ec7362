"""The exact engine's index: a folder of memory-mapped segments; each change happens whole or not at all.

Format, guarantees and commands: docs/search.md.
"""

from lexlip_infer.retrieval.impact_index.building import IndexWriter, append, build_exact_index
from lexlip_infer.retrieval.impact_index.changing import compact, delete
from lexlip_infer.retrieval.impact_index.engine import ExactEngine
from lexlip_infer.retrieval.impact_index.folder import ImpactIndexFolder
from lexlip_infer.retrieval.impact_index.manifest import INDEX_MANIFEST, EncodedWith, IndexManifest, read_index_manifest
from lexlip_infer.retrieval.impact_index.verification import verify

__all__ = [
    "INDEX_MANIFEST",
    "EncodedWith",
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
