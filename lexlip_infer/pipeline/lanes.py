"""Inference lanes: threads that each take a batch through a model; and the way of texts, which is nothing but lanes.

One session with few threads of its own, called by several lanes at once, keeps cores busier than one call with many
threads: those wait for each other at the end of every operator, a lane waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeVar

import numpy as np

from lexlip_infer.collection.part_file import Failure
from lexlip_infer.collection.parts import AnyItem
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.inputs.items import BadItem, TextItem
from lexlip_infer.pipeline.progress import Timings
from lexlip_infer.vectors.sparse_batch import SparseBatch


@dataclass(slots=True)
class EncodedBatch:
    """A few consecutive items: vectors of those that worked, and the others.

    Attributes:
        ids: of the rows of `vectors`.
        vectors: absent if no item worked.
        failures: items without a row.
        truncated: items with a row, of an image that breaks off and was accepted all the same.
        texts_cut: how many texts had more tokens than the model takes, and lost those beyond.
    """

    ids: list[str] = field(default_factory=list)
    vectors: SparseBatch | None = None
    failures: list[Failure] = field(default_factory=list)
    truncated: list[Failure] = field(default_factory=list)
    texts_cut: int = 0


def not_read(item: AnyItem) -> Failure:
    """What the reader could not deliver."""
    assert isinstance(item, BadItem), "the items of a run are of one kind"
    return Failure(item.id, item.origin, "read", item.error)


Result = TypeVar("Result")


class Lanes:
    """A number of lanes on each of several encoders, which hold the same model on different devices.

    Args:
        encoders: one a device.
        each: lanes of one encoder.
    """

    def __init__(self, encoders: Sequence[LexLIPEncoder], each: int) -> None:
        self.count = len(encoders) * each
        self._idle: SimpleQueue[LexLIPEncoder] = SimpleQueue()
        for encoder in [*encoders] * each:
            self._idle.put(encoder)
        self._threads = ThreadPoolExecutor(self.count, "infer")

    def submit(self, work: Callable[[LexLIPEncoder], Result]) -> Future[Result]:
        """Do some work with whichever encoder is free, after what was submitted before."""
        return self._threads.submit(self._run, work)

    def close(self) -> None:
        """Wait for what is running; cancel the rest."""
        self._threads.shutdown(cancel_futures=True)

    def _run(self, work: Callable[[LexLIPEncoder], Result]) -> Result:
        encoder = self._idle.get()
        try:
            return work(encoder)
        finally:
            self._idle.put(encoder)


BATCHES_SORTED_TOGETHER = 16


class TextStage:
    """Encodes blocks of texts.

    Args:
        lanes: where the model runs.
        batch_size: texts at a time.
        top_k: terms to keep.
        prompt: put before each text.
        mode: see `LexLIPEncoder.encode_texts`.
        timings: where inference is counted.
    """

    def __init__(self, lanes: Lanes, batch_size: int, top_k: int, prompt: str, mode: str, timings: Timings) -> None:
        self._lanes = lanes
        self._batch_size = batch_size
        self._top_k = top_k
        self._prompt = prompt
        self._mode = mode
        self._timings = timings
        # Blocks come out in the order they went in, so one thread that puts them together is enough.
        self._joining = ThreadPoolExecutor(1, "join")

    def submit(self, items: Sequence[AnyItem]) -> Future[EncodedBatch]:
        """Start on a block of texts, best `BATCHES_SORTED_TOGETHER` batches."""
        texts = [item for item in items if isinstance(item, TextItem)]
        order = sorted(range(len(texts)), key=lambda row: len(texts[row].text))
        parts = [
            self._infer([texts[row].text for row in order[start : start + self._batch_size]])
            for start in range(0, len(order), self._batch_size)
        ]

        def join() -> EncodedBatch:
            failures = [not_read(item) for item in items if not isinstance(item, TextItem)]
            results = [part.result() for part in parts]
            vectors = [vectors for vectors, _ in results]
            together = SparseBatch.concatenate(vectors)[np.argsort(order)] if vectors else None
            texts_cut = sum(cut for _, cut in results)
            return EncodedBatch([item.id for item in texts], together, failures, texts_cut=texts_cut)

        return self._joining.submit(join)

    def close(self) -> None:
        """End without results."""
        self._lanes.close()
        self._joining.shutdown(cancel_futures=True)

    def _infer(self, batch: list[str]) -> Future[tuple[SparseBatch, int]]:
        def encode(encoder: LexLIPEncoder) -> tuple[SparseBatch, int]:
            """Vectors, and how many of the texts were longer than the model takes."""
            with self._timings.working("infer"):
                tokens = encoder.tokenize.encode(batch, self._prompt)
                vectors = encoder.encode_token_ids(tokens.ids, tokens.mask, self._top_k, self._mode)
                return vectors, int(tokens.cut.sum())

        return self._lanes.submit(encode)
