"""From texts to vectors: texts of similar length share a batch, so that little is padding; their order is restored."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np

from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.inputs.items import BadItem, TextItem
from lexlip_infer.pipeline.encoded_batch import EncodedBatch, not_read
from lexlip_infer.pipeline.lanes import Lanes
from lexlip_infer.pipeline.timings import Timings
from lexlip_infer.sparse import SparseBatch

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

    def submit(self, items: Sequence[TextItem | BadItem]) -> Future[EncodedBatch]:
        """Start on a block of texts, best `BATCHES_SORTED_TOGETHER` batches."""
        return self._lanes.submit(lambda encoder: self._encode(encoder, items))

    def close(self) -> None:
        """End without results."""
        self._lanes.close()

    def _encode(self, encoder: LexLIPEncoder, items: Sequence[TextItem | BadItem]) -> EncodedBatch:
        texts = [item for item in items if isinstance(item, TextItem)]
        failures = [not_read(item) for item in items if isinstance(item, BadItem)]
        with self._timings.working("infer"):
            vectors = self._vectors(encoder, [item.text for item in texts]) if texts else None
        return EncodedBatch([item.id for item in texts], vectors, failures)

    def _vectors(self, encoder: LexLIPEncoder, texts: list[str]) -> SparseBatch:
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        batches = encoder.iter_encode_texts((texts[row] for row in order), self._batch_size, self._top_k)
        return SparseBatch.concatenate(list(batches))[np.argsort(order)]
