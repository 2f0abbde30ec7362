"""One stage after the other on one thread of ours, each timed: what a batch costs, and where.

Nothing overlaps here, so that the times of the stages add up to the time by the clock. The runtime uses its threads
within the backbone and the head. What a run of `lexlip-encode` makes of it is measured apart, in `worker.py`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.inputs import open_inputs
from lexlip_infer.bench.settings import Job, Setting
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings, fill_empty, quantise
from lexlip_infer.inputs.image_files import read_image_file
from lexlip_infer.inputs.images import load_image
from lexlip_infer.runtime.cuda_session import CudaSession
from lexlip_infer.runtime.opening import open_tower
from lexlip_infer.runtime.tower import Backbone, Inputs, Tower
from lexlip_infer.vectors.sparse_batch import SparseBatch

IMAGE_STAGES = ("read", "decode", "resize", "transfer", "backbone", "head", "top-k", "quantise", "write")
TEXT_STAGES = ("read", "tokenise", "transfer", "backbone", "head", "top-k", "quantise", "write")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class StageClock:
    """Seconds by stage; of one thread.

    Args:
        now: tells the time, in seconds.

    Attributes:
        seconds: so far, by stage.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0
        self._now = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block for a stage; a stage inside of it stops the outer one's time."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def around(self, name: str, run: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """The same function, its calls counted for a stage."""

        def counted(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            with self.stage(name):
                return run(*args, **kwargs)

        return counted

    def _charge(self) -> None:
        now = self._now()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


class Sequential(BaseModel):
    """What a sequential run took.

    Attributes:
        wall_seconds: of the whole run, measured apart from the stages.
        batch_seconds: of each batch, from its files to its lines.
        stage_seconds: sums over all batches.
        items: that were encoded.
        tokens: of all items, padding included; what the backbone computes.
        path: what ran the tower.
        head: what ran the lexicon head.
        graph: file of the backbone in the bundle.
    """

    model_config = ConfigDict(frozen=True)

    wall_seconds: float
    batch_seconds: list[float]
    stage_seconds: dict[str, float]
    items: int
    tokens: int
    path: str
    head: str
    graph: str


def run_sequential(
    job: Job, output: Path, warm_up: int = 2, now: Callable[[], float] = time.perf_counter
) -> Sequential:
    """Measure a job.

    Args:
        job: what.
        output: file for the lines.
        warm_up: batches before those that count; the first ones load kernels and touch memory.
        now: tells the time, in seconds.

    Raises:
        LexLIPError: the model cannot run so, or an input cannot be encoded.
    """
    encoder = LexLIPEncoder.from_pretrained(job.model)
    tower = open_tower(encoder.bundle, job.setting.modality, job.setting.options)
    items = iter(open_inputs(job.setting.modality, job.inputs, job.items + warm_up * job.setting.batch_size))
    with output.open("wb") as file:
        chain = _Chain(encoder, tower, job.setting, file, now)
        for _ in range(warm_up):
            chain.run(items)
        chain.clock = StageClock(now)
        chain.tokens = 0
        batches: list[float] = []
        started = now()
        while (took := chain.run(items)) is not None:
            batches.append(took)
        wall = now() - started
    path = tower.path
    return Sequential(
        wall_seconds=wall,
        batch_seconds=batches,
        stage_seconds=chain.clock.seconds,
        items=job.items,
        tokens=chain.tokens,
        path=f"{path.device} {path.backend} {path.precision}",
        head=path.head,
        graph=path.graph,
    )


class _Chain:
    """All stages of a batch."""

    def __init__(
        self, encoder: LexLIPEncoder, tower: Tower, setting: Setting, file: BinaryIO, now: Callable[[], float]
    ) -> None:
        manifest = encoder.manifest
        self.clock = StageClock(now)
        self._now = now
        self.tokens = 0
        self._encoder = encoder
        self._tower = tower
        self._setting = setting
        self._file = file
        self._top_k = min(getattr(manifest.top_k, setting.modality), manifest.vocab_size)
        quantisation = manifest.quantisation
        self._quantisation = QuantisationSettings(quantisation.scale, quantisation.cap, manifest.similarity == "cosine")
        self._writer = JsonLinesWriter(encoder.vocabulary.terms)

    def run(self, items: Any) -> float | None:
        """Encode the next batch; its seconds, or None where there is none."""
        started = self._now()
        with self.clock.stage("read"):
            batch = list(itertools.islice(items, self._setting.batch_size))
        if not batch:
            return None
        inputs = self._images(batch) if self._setting.modality == "image" else self._texts(batch)
        # What the tower does beside its backbone and its head is to sort the kept terms into rows.
        with self.clock.stage("top-k"):
            vectors = self._timed_tower(inputs)
        self._write([item.id for item in batch], vectors)
        return self._now() - started

    def _images(self, batch: Sequence[Any]) -> dict[str, Any]:
        with self.clock.stage("read"):
            files = [_bytes(item.source) for item in batch]
        with self.clock.stage("decode"):
            images = [load_image(data) for data in files]
        with self.clock.stage("resize"):
            rows = [self._encoder.preprocess(image) for image in images]
        with self.clock.stage("transfer"):
            return {"pixel_values": np.stack(rows)}

    def _texts(self, batch: Sequence[Any]) -> dict[str, Any]:
        with self.clock.stage("tokenise"):
            ids, mask = self._encoder.tokenize([item.text for item in batch])
        self.tokens += ids.size
        return {"input_ids": ids, "attention_mask": mask}

    def _timed_tower(self, inputs: dict[str, Any]) -> SparseBatch:
        clock, tower = self.clock, self._tower
        backbone, head = clock.around("backbone", tower.backbone), clock.around("head", tower.head)
        if isinstance(tower.backbone, CudaSession):
            backbone = _moved(clock.around("transfer", tower.backbone.to_device), backbone)
        return tower.with_parts(backbone, head)(inputs, self._top_k)

    def _write(self, ids: list[str], vectors: SparseBatch) -> None:
        with self.clock.stage("quantise"):
            placeholder = self._encoder.manifest.placeholder_id
            assert placeholder is not None, "a model that has words has a placeholder"
            impacts, _ = fill_empty(quantise(vectors, self._quantisation), placeholder)
        with self.clock.stage("write"):
            self._file.write(self._writer.encode(ids, impacts))


def _moved(move: Callable[[Inputs], Inputs], backbone: Backbone) -> Backbone:
    return lambda inputs: backbone(move(inputs))


def _bytes(source: Any) -> Any:
    """Of a file; a source that is none reads itself when it is decoded."""
    return read_image_file(source) if isinstance(source, Path) else source
