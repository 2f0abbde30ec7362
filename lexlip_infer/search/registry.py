"""The engines by name: how each builds, recognises, opens and describes its indexes."""

from __future__ import annotations

from pathlib import Path

from lexlip_infer.collection.manifest import MANIFEST
from lexlip_infer.search.anserini.lucene import LUCENE, read_record, size_of
from lexlip_infer.search.engine import IndexDescription
from lexlip_infer.search.exact import INDEX_MANIFEST, ExactEngine
from lexlip_infer.search.exact.segment import SEGMENTS

__all__ = ["describe_index", "is_anserini_index", "is_exact_index", "is_index"]


def is_anserini_index(folder: Path) -> bool:
    """Whether Anserini wrote it."""
    return (folder / LUCENE).is_dir()


def is_exact_index(folder: Path) -> bool:
    """Whether it is an index of the exact engine, or what a killed build of one has left."""
    return (folder / INDEX_MANIFEST).exists() or (not (folder / MANIFEST).exists() and (folder / SEGMENTS).exists())


def is_index(folder: Path) -> bool:
    """Whether it is an index of any engine."""
    return is_anserini_index(folder) or is_exact_index(folder)


def describe_index(folder: Path) -> IndexDescription:
    """Look at an index of any engine.

    Raises:
        OutputError: there is none, or it is damaged.
    """
    return _anserini(folder) if is_anserini_index(folder) else _exact(folder)


def _exact(folder: Path) -> IndexDescription:
    index = ExactEngine.open(folder)
    manifest = index.manifest
    return IndexDescription(
        engine="exact",
        format_version=manifest.format_version,
        written_by=f"lexlip-infer {manifest.version}",
        model=None if manifest.encoded_with is None else manifest.encoded_with.model_name,
        documents=manifest.documents,
        deleted=manifest.deleted,
        segments=len(manifest.segments),
        vocab_size=manifest.vocab_size,
        postings=sum(segment.postings for segment in manifest.segments),
        size=index.bytes_on_disk,
    )


def _anserini(folder: Path) -> IndexDescription:
    record = read_record(folder)
    return IndexDescription(
        engine=record.engine,
        format_version=record.format_version,
        written_by=record.anserini,
        model=None if record.settings is None else record.settings.model_name,
        documents=record.documents,
        deleted=0,  # such an index is never changed
        segments=len(list((folder / LUCENE).glob("*.si"))),  # Lucene writes one of these files a segment
        vocab_size=None,
        postings=None,
        size=size_of(folder),
    )
