"""The middle of the pipeline, put together for what is to be encoded: from items to vectors, and from those to lines.

Images are decoded ahead into the ring and inferred in lanes; a failed image makes its batch smaller. Texts need lanes
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lexlip_infer.collection.manifest import RunSettings
from lexlip_infer.collection.part_file import Failure, Lines
from lexlip_infer.collection.parts import AnyItem, PartEnd, Unit
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings, fill_empty, lifted_terms, quantise
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.items import ImageItem
from lexlip_infer.pipeline.decode_worker import Decoded, Loader, PixelRing, WorkerSetup
from lexlip_infer.pipeline.decoders import DecodeProcesses, Decoder, DecodeThreads
from lexlip_infer.pipeline.lanes import BATCHES_SORTED_TOGETHER, EncodedBatch, Lanes, TextStage, not_read
from lexlip_infer.pipeline.progress import Timings


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How fast, and in how much memory; none of it changes what is written, but for rounding.

    Attributes:
        batch_size: images or texts at a time.
        lanes: batches inferred at the same time, on each device.
        decode_workers: processes that decode images; 0 decodes in threads of this process.
        decode_timeout: seconds that a worker may take for one image.
        load: from an image item's source to an image; workers import it by its name.
    """

    batch_size: int = 16
    lanes: int = 1
    decode_workers: int = 0
    decode_timeout: float = 30.0
    load: Loader = load_image


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

    def submit(self, items: Sequence[AnyItem]) -> Future[EncodedBatch]:
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

    def _encode(self, encoder: LexLIPEncoder, slot: int, items: Sequence[AnyItem], decoding: _Decoding) -> EncodedBatch:
        batch, rows = self._decoded(items, decoding)
        if rows:
            with self._timings.working("infer"):
                batch.vectors = encoder.encode_pixels(self._pixels(slot, rows), self._top_k)
        self._ring.give_back(slot)
        return batch

    def _decoded(self, items: Sequence[AnyItem], decoding: _Decoding) -> tuple[EncodedBatch, list[int]]:
        """The batch without its vectors, and which rows of the slot hold pixels."""
        batch, rows = EncodedBatch(), []
        for row, (item, future) in enumerate(zip(items, decoding, strict=True)):
            if not isinstance(item, ImageItem):
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


#: Items in, vectors out, some time later; results are awaited in the order in which units were submitted.
Stage: TypeAlias = ImageStage | TextStage


def unit_size(settings: RunSettings, options: PipelineOptions) -> int:
    """Items to submit together."""
    return options.batch_size * (1 if settings.modality == "image" else BATCHES_SORTED_TOGETHER)


def batches_ahead(encoders: Sequence[LexLIPEncoder], options: PipelineOptions) -> int:
    """Units between reading and writing: in every lane one, and one ready for it; one being decoded, one written."""
    return 2 * len(encoders) * options.lanes + 2


def open_stage(
    encoders: Sequence[LexLIPEncoder], settings: RunSettings, options: PipelineOptions, timings: Timings, small: bool
) -> Stage:
    """The stage for a run; processes start with its first images.

    Args:
        encoders: one a device, of the same model.
        settings: of the run.
        options: sizes.
        timings: where it counts.
        small: whether the images are too few to be worth a process.
    """
    lanes = Lanes(encoders, options.lanes)
    if settings.modality == "text":
        return TextStage(lanes, options.batch_size, settings.top_k, settings.prompt, settings.query_mode, timings)
    preprocess = encoders[0].preprocess
    ring = PixelRing(batches_ahead(encoders, options), options.batch_size, preprocess.size)
    setup = WorkerSetup(options.load, preprocess, options.decode_timeout)
    if small or options.decode_workers == 0:
        threads = options.decode_workers or lanes.count
        return ImageStage(ring, DecodeThreads(ring, setup, threads), lanes, settings.top_k, timings)
    workers = DecodeProcesses(ring, setup, options.decode_workers)
    return ImageStage(ring, workers, lanes, settings.top_k, timings)


def start(stage: Stage, step: Unit | PartEnd) -> Future[EncodedBatch]:
    """Submit a unit; the end of a part takes its turn among the batches, with nothing to do."""
    if isinstance(step, Unit):
        return stage.submit(step.items)
    nothing: Future[EncodedBatch] = Future()
    nothing.set_result(EncodedBatch())
    return nothing


class LineMaker:
    """Makes lines of one model's vectors.

    Args:
        encoder: whose vocabulary the lines are in.
        quantisation: of the run.

    Raises:
        InputError: a term of the vocabulary cannot stand in an index.
    """

    def __init__(self, encoder: LexLIPEncoder, quantisation: QuantisationSettings) -> None:
        placeholder_id = encoder.manifest.placeholder_id
        assert placeholder_id is not None, "where there is a vocabulary, the manifest names a placeholder"
        self._placeholder_id = placeholder_id
        self._quantisation = quantisation
        self._writer = JsonLinesWriter(encoder.vocabulary.terms)

    def __call__(self, batch: EncodedBatch, timings: Timings) -> Lines:
        """Lines of a batch, and its failures."""
        if batch.vectors is None:
            return Lines(b"", 0, 0, 0, batch.failures)
        with timings.working("quantise"):
            impacts, empty = fill_empty(quantise(batch.vectors, self._quantisation), self._placeholder_id)
            lifted = lifted_terms(batch.vectors, self._quantisation)
        with timings.working("write"):
            data = self._writer.encode(batch.ids, impacts)
        counts = (len(batch.ids), empty, len(impacts.indices))
        return Lines(data, *counts, batch.failures, batch.truncated, batch.texts_cut, lifted)
