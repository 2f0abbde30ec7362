"""One encoding run: reader -> decode workers -> inference lanes -> impacts -> JSON lines -> parts.

    read              this thread        items, a batch at a time
    decode            worker processes   from files to pixels in the ring
    infer             lanes, threads     a batch each
    quantise, write   this thread        in the order of the input

At most `2 * devices * lanes + 2` batches are anywhere between reading and writing. Each holds one slot of the ring,
`batch_size` x 3 x S x S floats, and the sources of its items (a file's bytes, where a reader delivers bytes); each
worker holds one image, each lane the activations of one batch. Nothing else grows, however large the collection, but
for a record of the manifest a part. The slowest stage keeps this window full behind it and empty before it, and so
alone sets the speed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from lexlip_infer.collection.manifest import PartRecord, RunManifest, RunSettings, RunTimings
from lexlip_infer.collection.part_file import Lines
from lexlip_infer.collection.parts import AnyItem, PartEnd, Unit, share, unfinished_steps
from lexlip_infer.collection.writer import OutputFolder
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import Reader
from lexlip_infer.inputs.read_ahead import MOST_TOGETHER, gather, in_order
from lexlip_infer.pipeline.lanes import EncodedBatch
from lexlip_infer.pipeline.progress import Observer, Timings
from lexlip_infer.pipeline.stages import LineMaker, PipelineOptions, Stage, batches_ahead, open_stage, start, unit_size


class LineStream:
    """An output as `OutputFolder` is one.

    Args:
        stream: flushed after every batch, so that whoever reads it need not wait.
        manifest: of a run that has finished nothing.
    """

    def __init__(self, stream: BinaryIO, manifest: RunManifest) -> None:
        self.manifest = manifest
        self._stream = stream

    def add(self, lines: Lines) -> None:
        """Write lines."""
        self._stream.write(lines.data)
        self._stream.flush()

    def end_part(self, end: PartEnd, timings: RunTimings) -> PartRecord | None:  # noqa: ARG002  (as a folder's)
        """A stream has no parts."""
        return None

    def complete(self) -> None:
        """All is written already."""

    def changed(self, where: str) -> Exception:
        """Never asked for: there are no finished parts to compare with."""
        raise AssertionError(where)


#: Where lines go.
Output: TypeAlias = OutputFolder | LineStream


class Committing:
    """Takes what was encoded, in the order of the input; counts include what the output holds already.

    Args:
        output: of the run.
        observer: is told at once that the run begins.
        total: inputs of the whole run, if known.
        timings: of this run.

    Attributes:
        failed: inputs that gave no line.
        texts_cut: lines of texts that were longer than the model takes.
        lifted, impacts: impacts whose weight would round to 0, and all of them, of this process.
    """

    def __init__(self, output: Output, observer: Observer, total: int | None, timings: Timings) -> None:
        self._output = output
        self._observer = observer
        self._timings = timings
        self._before = output.manifest.timings
        self._done = sum(shard.inputs for shard in output.manifest.shards)
        self.failed, self.texts_cut = output.manifest.failed, output.manifest.texts_cut
        self.lifted = self.impacts = 0
        observer.started(self._done, self.failed, total)

    def add(self, lines: Lines, inputs: int) -> None:
        """Lines that were made of so many inputs."""
        with self._timings.working("write"):
            self._output.add(lines)
        self._done, self.failed = self._done + inputs, self.failed + len(lines.failures)
        self.texts_cut += lines.texts_cut
        self.lifted, self.impacts = self.lifted + lines.lifted, self.impacts + lines.impacts
        for failure in lines.failures:
            self._observer.failure(failure)
        for note in lines.truncated:
            self._observer.truncated(note)
        self._observer.advanced(self._done, self.failed)

    def end_part(self, end: PartEnd) -> None:
        """What was added since the last call is a part."""
        with self._timings.working("write"):
            record = self._output.end_part(end, self._timings.record(self._before))
            if record is not None:
                self._observer.shard(record)

    def complete(self) -> None:
        """There is no more."""
        if not self._output.manifest.complete:
            self._output.complete()


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
) -> Committing:
    """Encode everything a reader delivers into a stream of JSON lines; arguments and errors as above.

    Returns:
        Counts of what failed and of what was cut; which they are, the observer has been told.
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
            encoder.load(settings.modality, settings.query_mode)
        self._items, self._small = _look_ahead(iter(reader), 2 * options.batch_size)
        self._total = share(reader.count, settings)

    def into(self, output: Output) -> Committing:
        """Encode what the output does not hold yet; counts are of all of it."""
        timings = Timings()
        committing = Committing(output, self._observer, self._total, timings)
        with closing(open_stage(self._encoders, self._settings, self._options, timings, self._small)) as stage:
            for step, batch in self._encoded(output, stage, timings):
                if isinstance(step, PartEnd):
                    committing.end_part(step)
                else:
                    committing.add(self._make_lines(batch, timings), len(step.items))
        committing.complete()
        return committing

    def _encoded(self, output: Output, stage: Stage, timings: Timings) -> Iterator[tuple[Unit | PartEnd, EncodedBatch]]:
        size = unit_size(self._settings, self._options)
        steps = timings.following("read", unfinished_steps(self._items, output.manifest, size, output.changed))
        ahead = batches_ahead(self._encoders, self._options)
        return in_order(steps, partial(start, stage), ahead, partial(timings.waiting, "write"), attrgetter("held"))


def _look_ahead(items: Iterator[AnyItem], count: int) -> tuple[Iterator[AnyItem], bool]:
    """The same items, and whether they are fewer than `count`.

    Raises:
        InputError: there are none.
    """
    head = gather(items, count)
    if not head:
        raise InputError("the input holds nothing to encode")
    return itertools.chain(head, items), len(head) < count and sum(item.held for item in head) < MOST_TOGETHER
