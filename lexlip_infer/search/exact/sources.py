"""Where an index gets its documents: an output of lexlip-encode, or anyone's JSON lines; read in several threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lexlip_infer.collection.manifest import RunManifest, ShardRecord
from lexlip_infer.collection.stored_impacts import JsonLinesFiles, collect_vocabulary
from lexlip_infer.collection.written_output import MANIFEST, VECTORS, read_finished, read_shard
from lexlip_infer.impacts import JsonLinesParser
from lexlip_infer.search.engine import EncodedWith
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

__all__ = ["Documents", "model_vocabulary", "open_documents"]

Batch = tuple[list[str], ImpactMatrix]


@dataclass(frozen=True, slots=True)
class Documents:
    """A collection to index.

    Attributes:
        vocabulary: all terms.
        encoded_with: nothing for JSON lines that others wrote.
        batches: begins the stream of documents; takes the number of threads that read.
    """

    vocabulary: Vocabulary
    encoded_with: EncodedWith | None
    batches: Callable[[int], Iterator[Batch]]


def open_documents(source: Path, model: str | None = None, vocabulary: Vocabulary | None = None) -> Documents:
    """Open a collection.

    Args:
        source: folder, or file of JSON lines.
        model: bundle it was encoded with, where it has moved.
        vocabulary: of JSON lines that others wrote; without it, their own terms.

    Raises:
        InputError: it is incomplete or malformed, or the model is another one.
        OutputError: a part file is missing, changed or added.
    """
    if (source / MANIFEST).exists():
        return _open_output(source, read_finished(source), model)
    known = collect_vocabulary(source) if vocabulary is None else vocabulary
    return Documents(known, None, lambda _threads: JsonLinesFiles(source, known).chunks())


def _open_output(folder: Path, manifest: RunManifest, model: str | None) -> Documents:
    encoded_with = EncodedWith.of_run(manifest.settings)
    vocabulary = model_vocabulary(str(folder), encoded_with, model)
    parser = JsonLinesParser(vocabulary)
    read = partial(_read_part, folder, parser)
    return Documents(vocabulary, encoded_with, lambda threads: _in_threads(read, manifest.shards, threads))


def model_vocabulary(place: str, encoded_with: EncodedWith, model: str | None) -> Vocabulary:
    """The vocabulary of the model that documents were encoded with.

    Raises:
        BundleError: the model is not there.
        InputError: it is another one.
    """
    from lexlip_infer.encoder import LexLIPEncoder

    encoder = LexLIPEncoder.from_pretrained(encoded_with.model if model is None else model, "cpu")
    encoded_with.check_model(place, encoder.manifest.name, encoder.bundle.fingerprint)
    return encoder.vocabulary


def _read_part(folder: Path, parser: JsonLinesParser, record: ShardRecord) -> Batch:
    return parser.parse(read_shard(folder, record), str(folder / VECTORS / record.name))


def _in_threads(read: Callable[[ShardRecord], Batch], records: Iterable[ShardRecord], threads: int) -> Iterator[Batch]:
    """In order, with as many parts in memory as there are threads."""
    remaining = iter(records)
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[Batch]] = deque(
            pool.submit(read, record) for record in itertools.islice(remaining, threads)
        )
        try:
            while running:
                batch = running.popleft().result()
                running.extend(pool.submit(read, record) for record in itertools.islice(remaining, 1))
                yield batch
        finally:
            for future in running:
                future.cancel()
