"""The middle of the pipeline, put together for what is to be encoded: decoders, ring and lanes, or lanes alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from lexlip_infer.collection.manifest import RunSettings
from lexlip_infer.collection.parts import PartEnd, Unit
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.inputs.images import load_image
from lexlip_infer.pipeline.decode_pool import DecodeProcesses, DecodeThreads
from lexlip_infer.pipeline.decode_worker import Loader, WorkerSetup
from lexlip_infer.pipeline.encoded_batch import EncodedBatch
from lexlip_infer.pipeline.image_stage import ImageStage
from lexlip_infer.pipeline.lanes import Lanes
from lexlip_infer.pipeline.pixel_ring import PixelRing
from lexlip_infer.pipeline.text_stage import BATCHES_SORTED_TOGETHER, TextStage
from lexlip_infer.pipeline.timings import Timings

__all__ = ["PipelineOptions", "Stage", "batches_ahead", "open_stage", "start", "unit_size"]


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


class Stage(Protocol):
    """Items in, vectors out, some time later."""

    def submit(self, items: Sequence[Any]) -> Future[EncodedBatch]:
        """Start on a unit of items; results are awaited in the order of these calls."""
        ...

    def close(self) -> None:
        """End; what has no result yet gets none."""
        ...


def unit_size(settings: RunSettings, options: PipelineOptions) -> int:
    """Items to submit together."""
    return options.batch_size * (1 if settings.modality == "image" else BATCHES_SORTED_TOGETHER)


def batches_ahead(encoders: Sequence[LexLIPEncoder], options: PipelineOptions) -> int:
    """Units between reading and writing: in every lane one, and one ready for it; one being decoded, one written."""
    return 2 * len(encoders) * options.lanes + 2


def open_stage(
    encoders: Sequence[LexLIPEncoder], settings: RunSettings, options: PipelineOptions, timings: Timings, few: bool
) -> Stage:
    """The stage for a run; processes start with its first images.

    Args:
        encoders: one a device, of the same model.
        settings: of the run.
        options: sizes.
        timings: where it counts.
        few: whether the images are too few to be worth a process.
    """
    lanes = Lanes(encoders, options.lanes)
    if settings.modality == "text":
        return TextStage(lanes, options.batch_size, settings.top_k, timings)
    preprocess = encoders[0].preprocess
    ring = PixelRing(batches_ahead(encoders, options), options.batch_size, preprocess.size)
    setup = WorkerSetup(options.load, preprocess, options.decode_timeout)
    if few or options.decode_workers == 0:
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
