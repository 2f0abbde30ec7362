"""The terms of an index, without which its queries would need the model's bundle."""

from __future__ import annotations

import json
from pathlib import Path

from lexlip_infer.search.exact.manifest import IndexManifest
from lexlip_infer.search.exact.segment import damaged, record_file
from lexlip_infer.vocabulary import Vocabulary

__all__ = ["read_terms"]


def read_terms(index: Path, manifest: IndexManifest) -> Vocabulary:
    """The vocabulary of an index.

    Raises:
        FileNotFoundError: it is missing.
        OutputError: it is damaged.
    """
    path = index / manifest.vocabulary.name
    if record_file(index, manifest.vocabulary.name) != manifest.vocabulary:
        raise damaged(path, "its sha256 does not match")
    return Vocabulary(tuple(json.loads(path.read_bytes())))
