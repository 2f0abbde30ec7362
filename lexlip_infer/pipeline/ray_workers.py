"""What runs inside Ray's processes: one that reads the collection, and actors that each hold the model and encode.

Both are ordinary pieces of the pipeline between two tables of one row: Ray's blocks are Arrow tables, and a row holds a
pickled message. When an actor dies, Ray gives its chunks to another; when the reader dies, it reads again from the
start, the same in the same order, and what was delivered is not delivered twice. Ray is not imported here.

A chunk is large enough that sending it costs nothing beside encoding it, and small enough for memory: a part, or so
much of one as its limits allow. Units are cut as for a run on one machine, and so give the same bytes.
"""

from __future__ import annotations

import os
import pickle
import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

from lexlip_infer.collection.manifest import RunManifest, RunSettings, StageTimings
from lexlip_infer.collection.part_file import Lines
from lexlip_infer.collection.parts import AnyItem, PartEnd, Unit, unfinished_steps
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import BundleError, LexLIPError, require
from lexlip_infer.inputs.frames import Frame
from lexlip_infer.inputs.items import ImageItem, Reader
from lexlip_infer.inputs.read_ahead import in_order
from lexlip_infer.pipeline.progress import STAGES, Timings
from lexlip_infer.pipeline.settings import Devices, share_out
from lexlip_infer.pipeline.stages import LineMaker, PipelineOptions, batches_ahead, open_stage, start, unit_size
from lexlip_infer.runtime.choice import RuntimeOptions

#: Inputs of a chunk, and bytes of the sources that travel with them.
_MOST_INPUTS, _MOST_BYTES = 1024, 2**26


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive steps of one part.

    Attributes:
        steps: units, and the part's end if it comes here.
        core_seconds: that reading them took.
    """

    steps: list[Unit | PartEnd]
    core_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """The same steps, encoded.

    Attributes:
        steps: the lines of each unit with the number of its inputs; ends of parts as they came.
        used: by stage, what it took.
    """

    steps: list[tuple[Lines, int] | PartEnd]
    used: dict[str, StageTimings]


@dataclass(frozen=True, slots=True)
class Ended:
    """All is read; `passed_over` is the reader's."""

    passed_over: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The collection is not the one that the output was begun with; see `unfinished_steps`."""

    where: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run cannot go on. The error is a value: raised on another machine, it would come back in layers of Ray's."""

    error: LexLIPError


Message: TypeAlias = Chunk | EncodedChunk | Ended | Changed | Stopped


def chunks(steps: Iterable[Unit | PartEnd]) -> Iterator[Chunk]:
    """Steps put together, with absolute paths: whoever decodes may stand in another folder."""
    started = time.thread_time()
    gathered: list[Unit | PartEnd] = []
    inputs = size = 0
    for step in steps:
        if isinstance(step, Unit):
            gathered.append(replace(step, items=[_absolute(item) for item in step.items]))
            inputs, size = inputs + len(step.items), size + step.held
        else:
            gathered.append(step)
        if isinstance(step, PartEnd) or inputs >= _MOST_INPUTS or size >= _MOST_BYTES:
            yield Chunk(gathered, time.thread_time() - started)
            gathered, inputs, size = [], 0, 0
            started = time.thread_time()
    assert not gathered, "the last step is the end of a part"


def _absolute(item: AnyItem) -> AnyItem:
    if not isinstance(item, ImageItem):
        return item
    source = item.source
    if isinstance(source, Path):
        return replace(item, source=Path(os.path.abspath(source)))  # noqa: PTH100  (resolve() would follow links)
    if isinstance(source, Frame) and isinstance(source.source, Path):
        path = Path(os.path.abspath(source.source))  # noqa: PTH100
        return replace(item, source=replace(source, source=path))
    return item


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What an actor has to know.

    Attributes:
        runtime: the path that was chosen, nothing "auto" but threads, which are for this actor.
        settings: of the run.
        options: of the pipeline inside the actor.
    """

    runtime: RuntimeOptions
    settings: RunSettings
    options: PipelineOptions

    @classmethod
    def of(
        cls, devices: Devices, runtime: RuntimeOptions, settings: RunSettings, options: PipelineOptions
    ) -> WorkerPlan:
        """Actors take the path that was chosen here, or refuse: another one would round in another way."""
        path = devices.path
        chosen = replace(
            runtime,
            device=settings.device,
            precision=path.precision,
            backend=path.backend,
            head=path.head,
            threads=devices.threads,
        )
        return cls(chosen, settings, options)


def read_chunks(
    _: object, reader: Reader[Any], manifest: RunManifest, options: PipelineOptions, folder: str
) -> Iterator[Any]:
    """Tables of the chunks that are not finished yet, and of the word with which reading ends.

    Args:
        reader: of the collection.
        manifest: of the output so far.
        options: which say how large a unit is.
        folder: that relative paths start from; the process belongs to this run.
    """
    os.chdir(folder)
    try:
        for chunk in chunks(unfinished_steps(iter(reader), manifest, unit_size(manifest.settings, options), _Changed)):
            yield _table(chunk)
    except _Changed as changed:
        yield _table(Changed(str(changed)))
    except LexLIPError as error:
        yield _table(Stopped(error))
    else:
        yield _table(Ended(reader.passed_over))


class _Changed(Exception):  # noqa: N818  (not an error here: the driver makes one of it)
    pass


class EncodeChunks:
    """An actor: a chunk in, its lines out; the model is opened with the first one.

    Args:
        plan: of the run.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._encoding: _Encoding | None = None

    def __call__(self, table: Any) -> Any:
        """Table to table; messages that are no chunk pass through."""
        message = message_of(table)
        return _table(self._encode(message)) if isinstance(message, Chunk) else table

    def _encode(self, chunk: Chunk) -> Message:
        try:
            self._encoding = self._encoding or _Encoding(self._plan)
            return self._encoding(chunk)
        except LexLIPError as error:
            return Stopped(type(error)(f"on {platform.node()}: {error}"))


class _Encoding:
    """The middle of the pipeline, kept open between chunks; it ends with its process."""

    def __init__(self, plan: WorkerPlan) -> None:
        settings, options = plan.settings, plan.options
        encoder = LexLIPEncoder.from_pretrained(settings.model, **asdict(plan.runtime))
        if encoder.bundle.fingerprint != settings.model_fingerprint:
            raise BundleError(
                f"{encoder.bundle.folder} is another model (fingerprint {encoder.bundle.fingerprint[:12]}, where the "
                f"run was started {settings.model_fingerprint[:12]}); put the same bundle there on every node"
            )
        encoders = share_out([encoder], settings.modality, options.lanes).encoders
        self._make_lines = LineMaker(encoders[0], settings.encoded_with.quantisation)
        encoders[0].load(settings.modality, settings.query_mode)
        self._ahead = batches_ahead(encoders, options)
        self._timings = Timings()
        self._stage = open_stage(encoders, settings, options, self._timings, small=False)
        self._counted = dict.fromkeys(STAGES, (0.0, 0.0))

    def __call__(self, chunk: Chunk) -> EncodedChunk:
        self._timings.add("read", core=chunk.core_seconds, elsewhere=True)
        steps: list[tuple[Lines, int] | PartEnd] = []
        waiting = partial(self._timings.waiting, "write")
        for step, batch in in_order(chunk.steps, partial(start, self._stage), self._ahead, waiting, attrgetter("held")):
            lines = (self._make_lines(batch, self._timings), len(step.items)) if isinstance(step, Unit) else step
            steps.append(lines)
        return EncodedChunk(steps, self._used())

    def _used(self) -> dict[str, StageTimings]:
        """Since the last call."""
        before, stages = self._counted, self._timings.record().stages
        self._counted = {name: (stage.core_seconds, stage.waiting_seconds) for name, stage in stages.items()}
        return {
            name: StageTimings(core_seconds=core - before[name][0], share=0, waiting_seconds=waiting - before[name][1])
            for name, (core, waiting) in self._counted.items()
        }


def _table(message: Message) -> Any:
    pyarrow = require("pyarrow", extra="ray")
    return pyarrow.table({"message": pyarrow.array([pickle.dumps(message)], pyarrow.large_binary())})


def message_of(table: Any) -> Message:
    """The message in a table of one row."""
    (data,) = table["message"].to_pylist()
    message: Message = pickle.loads(data)  # noqa: S301  (ours, from a process of this run)
    return message
