"""One encoding run: source -> vectors -> impacts -> JSON lines -> shards."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.impacts import JsonLinesWriter, fill_empty, quantise
from lexlip_infer.pipeline.manifest import RunManifest, RunSettings
from lexlip_infer.pipeline.output_folder import OutputFolder, ShardWriter
from lexlip_infer.pipeline.sources import EncodedBatch, Source

__all__ = ["Progress", "encode_collection"]


class Progress(Protocol):
    """Told after every batch."""

    def __call__(self, done: int, failed: int) -> None:
        """`done` items are behind us since the start, earlier runs included; `failed` of them have no vector."""
        ...


def encode_collection(
    encoder: LexLIPEncoder,
    source: Source,
    output: Path,
    settings: RunSettings,
    batch_size: int,
    progress: Progress,
) -> RunManifest:
    """Encode everything a source holds into an output folder, continuing an interrupted run of the same settings.

    Args:
        encoder: the model.
        source: what to encode.
        output: see `OutputFolder`.
        settings: what decides the bytes; fingerprint and count must be the source's.
        batch_size: items at a time.
        progress: told after every batch.

    Returns:
        The finished run's manifest.

    Raises:
        BundleError: the model is damaged; nothing is written.
        OutputError: the folder holds another run's output, is being written by another run, or cannot be written.
    """
    writer = JsonLinesWriter(encoder.vocabulary.terms)
    encoder.load(settings.modality)  # so that a damaged model leaves no folder behind
    with OutputFolder.open(output, settings) as folder:
        _encode_missing(encoder, source, folder, writer, batch_size, progress)
    return folder.manifest


def _encode_missing(
    encoder: LexLIPEncoder,
    source: Source,
    folder: OutputFolder,
    writer: JsonLinesWriter,
    batch_size: int,
    progress: Progress,
) -> None:
    settings = folder.manifest.settings
    placeholder_id = encoder.manifest.placeholder_id
    assert placeholder_id is not None, "where there is a vocabulary, the manifest names a placeholder"
    done = sum(shard.documents + shard.failed for shard in folder.manifest.shards)
    failed = folder.manifest.failed
    progress(done, failed)
    step = settings.items_per_shard
    for number, start in enumerate(range(0, source.count, step)):
        if folder.finished(number):
            continue
        with folder.shard() as shard:
            items = slice(start, start + step)
            for batch in source.encode(encoder, items, batch_size, settings.top_k):
                _write(batch, shard, writer, settings, placeholder_id)
                done += len(batch.ids) + len(batch.failures)
                failed += len(batch.failures)
                progress(done, failed)
    if not folder.manifest.complete:
        folder.complete()


def _write(
    batch: EncodedBatch,
    shard: ShardWriter,
    writer: JsonLinesWriter,
    settings: RunSettings,
    placeholder_id: int,
) -> None:
    shard.failures += batch.failures
    if batch.vectors is None:
        return
    impacts, empty = fill_empty(quantise(batch.vectors, settings.quantisation), placeholder_id)
    shard.write(writer.encode(batch.ids, impacts), len(batch.ids), empty, len(impacts.indices))
