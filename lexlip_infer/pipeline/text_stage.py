"""From texts to vectors: texts of similar length share a batch, so that little is padding; their order is restored.

A block of texts is sorted by length and cut into batches, which go to the lanes one by one: a collection of a single
block keeps all lanes busy too.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.inputs.items import BadItem, TextItem
from lexlip_infer.pipeline.encoded_batch import EncodedBatch, not_read
from lexlip_infer.pipeline.lanes import Lanes
from lexlip_infer.pipeline.timings import Timings
from lexlip_infer.vectors.sparse_batch import SparseBatch

__all__ = ["BATCHES_SORTED_TOGETHER", "TextStage"]

BATCHES_SORTED_TOGETHER = 16


class TextStage:
    """Encodes blocks of texts.

    Args:
        lanes: where the model runs.
        batch_size: texts at a time.
        top_k: terms to keep.
        timings: where inference is counted.
    """

    def __init__(self, lanes: Lanes, batch_size: int, top_k: int, timings: Timings) -> None:
        self._lanes = lanes
        self._batch_size = batch_size
        self._top_k = top_k
        self._timings = timings
        # Blocks come out in the order they went in, so one thread that puts them together is enough.
        self._joining = ThreadPoolExecutor(1, "join")

    def submit(self, items: Sequence[TextItem | BadItem]) -> Future[EncodedBatch]:
        """Start on a block of texts, best `BATCHES_SORTED_TOGETHER` batches."""
        texts = [item for item in items if isinstance(item, TextItem)]
        order = sorted(range(len(texts)), key=lambda row: len(texts[row].text))
        parts = [
            self._infer([texts[row].text for row in order[start : start + self._batch_size]])
            for start in range(0, len(order), self._batch_size)
        ]

        def join() -> EncodedBatch:
            failures = [not_read(item) for item in items if isinstance(item, BadItem)]
            vectors = [part.result() for part in parts]
            together = SparseBatch.concatenate(vectors)[np.argsort(order)] if vectors else None
            return EncodedBatch([item.id for item in texts], together, failures)

        return self._joining.submit(join)

    def close(self) -> None:
        """End without results."""
        self._lanes.close()
        self._joining.shutdown(cancel_futures=True)

    def _infer(self, batch: list[str]) -> Future[SparseBatch]:
        def encode(encoder: LexLIPEncoder) -> SparseBatch:
            with self._timings.working("infer"):
                (vectors,) = encoder.iter_encode_texts(batch, len(batch), self._top_k)
            return vectors

        return self._lanes.submit(encode)
