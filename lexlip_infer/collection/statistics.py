"""What a collection looks like from an inverted index's point of view."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from lexlip_infer.collection.collection import Collection


class TermFrequency(BaseModel):
    """How many documents hold a term."""

    model_config = ConfigDict(frozen=True)

    term: str
    documents: int


class CollectionStatistics(BaseModel):
    """Counts and sizes.

    Attributes:
        model: name of the model.
        top_k: terms kept of each document.
        scale: of the quantiser.
        complete: whether the run that wrote it has finished.
        documents: vectors.
        failed: inputs without a vector.
        empty: documents that hold the placeholder term alone.
        vocab_size: V.
        active_terms: terms that at least one document holds.
        terms_per_document: smallest, median, largest.
        impacts: stored impacts.
        impact_sum: of all impacts, to which the cost of indexing with Anserini is proportional.
        largest_impact: of all.
        part_files: number of shards.
        size: bytes of all shards.
        frequent_terms: most frequent first.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    top_k: int
    scale: float
    complete: bool
    documents: int
    failed: int
    empty: int
    vocab_size: int
    active_terms: int
    terms_per_document: tuple[int, float, int]
    impacts: int
    impact_sum: int
    largest_impact: int
    part_files: int
    size: int
    frequent_terms: tuple[TermFrequency, ...]


def collection_statistics(collection: Collection, frequent_terms: int) -> CollectionStatistics:
    """Count.

    Args:
        collection: an output of lexlip-encode.
        frequent_terms: how many to list.

    Raises:
        InputError: it holds no document.
        OutputError: a part file has changed.
    """
    manifest, (_, matrix) = collection.manifest, collection.in_id_order()
    assert manifest is not None, "only an output has settings to tell of"
    lengths = matrix.lengths
    frequency = np.bincount(matrix.indices, minlength=matrix.vocab_size)
    order = np.argsort(-frequency, kind="stable")[:frequent_terms]
    return CollectionStatistics(
        model=manifest.settings.model_name,
        top_k=manifest.settings.top_k,
        scale=manifest.settings.scale,
        complete=manifest.complete,
        documents=len(matrix),
        failed=manifest.failed,
        empty=sum(shard.empty for shard in manifest.shards),
        vocab_size=matrix.vocab_size,
        active_terms=int((frequency > 0).sum()),
        terms_per_document=(int(lengths.min()), float(np.median(lengths)), int(lengths.max())),
        impacts=len(matrix.impacts),
        impact_sum=int(matrix.impacts.sum(dtype=np.int64)),
        largest_impact=int(matrix.impacts.max()),
        part_files=len(manifest.shards),
        size=sum(shard.size for shard in manifest.shards),
        frequent_terms=tuple(
            TermFrequency(term=collection.vocabulary.terms[term], documents=int(frequency[term]))
            for term in order
            if frequency[term]
        ),
    )
