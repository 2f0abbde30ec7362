"""One encoding run: reader -> decode workers -> inference lanes -> impacts -> JSON lines -> shards.

    read              this thread        items, a batch at a time
    decode            worker processes   from files to pixels in the ring
    infer             lanes, threads     a batch each
    quantise, write   this thread        in the order of the input

At most `2 * devices * lanes + 2` batches are anywhere between reading and writing. Each holds one slot of the ring,
`batch_size` x 3 x S x S floats, and the sources of its items (a file's bytes, where a reader delivers bytes); each
worker holds one image, each lane the activations of one batch. Nothing else grows, however large the collection, but
for a record of the manifest a shard. The slowest stage keeps this window full behind it and empty before it, and so
alone sets the speed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from lexlip_infer.collection.manifest import RunManifest, RunSettings
from lexlip_infer.collection.parts import AnyItem, PartEnd, Unit, cut, share
from lexlip_infer.collection.writer import OutputFolder
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import Reader
from lexlip_infer.inputs.read_ahead import in_order
from lexlip_infer.pipeline.committing import Committing, Output
from lexlip_infer.pipeline.encoded_batch import EncodedBatch
from lexlip_infer.pipeline.line_maker import LineMaker
from lexlip_infer.pipeline.line_stream import LineStream
from lexlip_infer.pipeline.observer import Observer
from lexlip_infer.pipeline.stages import PipelineOptions, Stage, batches_ahead, open_stage, start, unit_size
from lexlip_infer.pipeline.timings import Timings

__all__ = ["encode_collection", "encode_stream"]


def encode_collection(
    encoders: Sequence[LexLIPEncoder],
    reader: Reader[Any],
    output: Path,
    settings: RunSettings,
    options: PipelineOptions,
    observer: Observer,
) -> RunManifest:
    """Encode everything a reader delivers into an output folder, continuing an interrupted run of the same settings.

    Args:
        encoders: one a device, of the same model.
        reader: what to encode.
        output: see `OutputFolder`.
        settings: what decides the bytes.
        options: what decides the speed.
        observer: told how it goes.

    Returns:
        The finished run's manifest.

    Raises:
        BundleError: the model is damaged; nothing is written.
        InputError: the input cannot be read, or holds nothing at all.
        OutputError: the folder holds another run's output, is being written by another run, or cannot be written.
        BackendUnavailable: decode workers cannot be started.
    """
    run = _Run(encoders, reader, settings, options, observer)
    with OutputFolder.open(output, settings) as folder:
        run.into(folder)
    return folder.manifest


def encode_stream(
    encoders: Sequence[LexLIPEncoder],
    reader: Reader[Any],
    stream: BinaryIO,
    settings: RunSettings,
    options: PipelineOptions,
    observer: Observer,
) -> int:
    """Encode everything a reader delivers into a stream of JSON lines; arguments and errors as above.

    Returns:
        The number of inputs that failed; which they are, the observer has been told.
    """
    run = _Run(encoders, reader, settings, options, observer)
    return run.into(LineStream(stream, RunManifest(version=version("lexlip-infer"), settings=settings)))


class _Run:
    """A run, as far as it can go without an output: so that no bad input leaves an empty folder behind."""

    def __init__(
        self,
        encoders: Sequence[LexLIPEncoder],
        reader: Reader[Any],
        settings: RunSettings,
        options: PipelineOptions,
        observer: Observer,
    ) -> None:
        self._encoders = encoders
        self._settings = settings
        self._options = options
        self._observer = observer
        self._make_lines = LineMaker(encoders[0], settings.encoded_with.quantisation)
        for encoder in encoders:
            encoder.load(settings.modality)
        self._items, self._few = _look_ahead(iter(reader), 2 * options.batch_size)
        self._total = share(reader.count, settings)

    def into(self, output: Output) -> int:
        """Encode what the output does not hold yet; the number of failures in all of it."""
        timings = Timings()
        committing = Committing(output, self._observer, self._total, timings)
        with closing(open_stage(self._encoders, self._settings, self._options, timings, self._few)) as stage:
            for step, batch in self._encoded(output, stage, timings):
                if isinstance(step, PartEnd):
                    committing.end_part(step)
                else:
                    committing.add(self._make_lines(batch, timings), len(step.items))
        committing.complete()
        return committing.failed

    def _encoded(self, output: Output, stage: Stage, timings: Timings) -> Iterator[tuple[Unit | PartEnd, EncodedBatch]]:
        size = unit_size(self._settings, self._options)
        steps = timings.following("read", cut(self._items, output.manifest, size, output.changed))
        ahead = batches_ahead(self._encoders, self._options)
        return in_order(steps, partial(start, stage), ahead, partial(timings.waiting, "write"))


def _look_ahead(items: Iterator[AnyItem], count: int) -> tuple[Iterator[AnyItem], bool]:
    """The same items, and whether they are fewer than `count`.

    Raises:
        InputError: there are none.
    """
    head = list(itertools.islice(items, count))
    if not head:
        raise InputError("the input holds nothing to encode")
    return itertools.chain(head, items), len(head) < count
