"""From images to vectors: decoded ahead into the ring, inferred in lanes; a failed image makes its batch smaller."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt

from lexlip_infer.collection.part_file import Failure
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.inputs.items import BadItem, ImageItem
from lexlip_infer.pipeline.decode_pool import Decoder
from lexlip_infer.pipeline.decode_worker import Decoded
from lexlip_infer.pipeline.encoded_batch import EncodedBatch, not_read
from lexlip_infer.pipeline.lanes import Lanes
from lexlip_infer.pipeline.pixel_ring import PixelRing
from lexlip_infer.pipeline.timings import Timings

__all__ = ["ImageStage"]

_Decoding = list[Future[Decoded] | None]


class ImageStage:
    """Encodes batches of images.

    Args:
        ring: one slot at least for every batch that is submitted and not done.
        decoder: fills the ring.
        lanes: empty it.
        top_k: terms to keep.
        timings: where decoding and inference are counted.
    """

    def __init__(self, ring: PixelRing, decoder: Decoder, lanes: Lanes, top_k: int, timings: Timings) -> None:
        self._ring = ring
        self._decoder = decoder
        self._lanes = lanes
        self._top_k = top_k
        self._timings = timings

    def submit(self, items: Sequence[ImageItem | BadItem]) -> Future[EncodedBatch]:
        """Start on at most a batch of images."""
        slot = self._ring.take()
        decoding: _Decoding = [
            self._decoder.submit(item.source, (slot, row)) if isinstance(item, ImageItem) else None
            for row, item in enumerate(items)
        ]
        return self._lanes.submit(lambda encoder: self._encode(encoder, slot, items, decoding))

    def close(self) -> None:
        """End at once, without results."""
        self._decoder.close()
        self._lanes.close()
        self._ring.close()

    def _encode(
        self, encoder: LexLIPEncoder, slot: int, items: Sequence[ImageItem | BadItem], decoding: _Decoding
    ) -> EncodedBatch:
        batch, rows = self._decoded(items, decoding)
        if rows:
            with self._timings.working("infer"):
                batch.vectors = encoder.encode_pixels(self._pixels(slot, rows), self._top_k)
        self._ring.give_back(slot)
        return batch

    def _decoded(self, items: Sequence[ImageItem | BadItem], decoding: _Decoding) -> tuple[EncodedBatch, list[int]]:
        """The batch without its vectors, and which rows of the slot hold pixels."""
        batch, rows = EncodedBatch(), []
        for row, (item, future) in enumerate(zip(items, decoding, strict=True)):
            if isinstance(item, BadItem):
                batch.failures.append(not_read(item))
                continue
            decoded = self._await(future)
            if decoded.error is not None:
                batch.failures.append(_failure(item, decoded.error))
                continue
            rows.append(row)
            batch.ids.append(item.id)
            if decoded.note is not None:
                batch.truncated.append(_failure(item, decoded.note))
        return batch, rows

    def _await(self, future: Future[Decoded] | None) -> Decoded:
        assert future is not None, "every item but the bad ones is being decoded"
        with self._timings.waiting("infer"):
            decoded = future.result()
        self._timings.add("decode", core=decoded.core_seconds, elsewhere=self._decoder.elsewhere)
        return decoded

    def _pixels(self, slot: int, rows: list[int]) -> npt.NDArray[np.float32]:
        pixels: npt.NDArray[np.float32] = self._ring.pixels[slot]
        return pixels[: len(rows)] if rows == [*range(len(rows))] else pixels[rows]


def _failure(item: ImageItem, error: str) -> Failure:
    """A decoder names its source, which the failure does already."""
    source = "the given bytes" if isinstance(item.source, bytes) else item.source
    return Failure(item.id, item.origin, "decode", error.removeprefix(f"{source}: "))
