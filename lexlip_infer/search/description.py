"""What an index holds, told from its files: no query is needed, no model, and no Java."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lexlip_infer.search.anserini.lucene import LUCENE, read_record, size_of
from lexlip_infer.search.dense import read_dense_record
from lexlip_infer.search.exact.engine import ExactEngine
from lexlip_infer.search.registry import find_engine


class IndexDescription(BaseModel):
    """Counts and sizes.

    Attributes:
        engine: that answers.
        format_version: of its files.
        written_by: name and version of the program.
        model: that encoded the documents, if known.
        documents: that a search can find.
        deleted: documents that still take room.
        segments: number.
        vocab_size: V; only an index of the exact engine says it.
        postings: stored impacts, those of deleted documents included; likewise.
        size: bytes of all files.
    """

    model_config = ConfigDict(frozen=True)

    engine: str
    format_version: int
    written_by: str
    model: str | None
    documents: int
    deleted: int = 0
    segments: int = 1
    vocab_size: int | None = None
    postings: int | None = None
    size: int


def describe_index(path: Path) -> IndexDescription:
    """What an index of any engine holds.

    Raises:
        OutputError: it is none, or is damaged.
    """
    engine = find_engine(path)
    if engine is None or engine.name == "exact":
        return _describe_exact(path)
    return _describe_faiss(path) if engine.name == "faiss" else _describe_lucene(path)


def _describe_exact(path: Path) -> IndexDescription:
    index = ExactEngine.open(path)
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


def _describe_lucene(path: Path) -> IndexDescription:
    record = read_record(path)
    return IndexDescription(
        engine=record.engine,
        format_version=record.format_version,
        written_by=record.anserini,
        model=None if record.settings is None else record.settings.model_name,
        documents=record.documents,
        segments=len(list((path / LUCENE).glob("*.si"))),  # Lucene writes one of these files a segment
        size=size_of(path),
    )


def _describe_faiss(path: Path) -> IndexDescription:
    record, size = read_dense_record(path)
    return IndexDescription(
        engine="faiss",
        format_version=record.format_version,
        written_by=f"faiss {record.faiss}, {record.kind}",
        model=None,
        documents=len(record.ids),
        size=size,
    )
