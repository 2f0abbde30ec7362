"""What a run would be: shapes, parameters, steps, operations and memory, without training and without weights."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch

from lexlip_kernels.errors import BundleError, InputError
from lexlip_training.config import ModelConfig, preset
from lexlip_training.data import read_pairs
from lexlip_training.dense_model import DenseConfig, DenseModel
from lexlip_training.engine.gradient_checkpointing import enable_gradient_checkpointing
from lexlip_training.engine.memory import ForwardCost, head_bytes, image_cost, text_cost, weights_bytes
from lexlip_training.engine.run import micro_batch_size
from lexlip_training.engine.settings import TrainingConfig
from lexlip_training.engine.starting_model import adapted_config
from lexlip_training.model import LexLIP
from lexlip_training.objectives.pair_queue import queue_bytes

__all__ = ["plan"]


def plan(config: TrainingConfig, processes: int, pairs: int | None) -> str:
    """A report of some lines.

    Args:
        config: settings of the run.
        processes: one a GPU.
        pairs: training pairs; None reads the configured data.

    Raises:
        InputError: settings do not fit together, or the data is absent and `pairs` is not given.
    """
    batch = micro_batch_size(config, processes)
    shapes = _shapes(config)
    with torch.device("meta"):
        model = LexLIP(shapes) if config.model.representation == "lexicon" else DenseModel(DenseConfig(towers=shapes))
    if config.model.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    model.train()
    sketch = _Sketch(config, shapes, model, batch, processes)
    return "\n".join([*sketch.header(), *_steps(config, pairs), *sketch.operations(), *sketch.memory()])


def _shapes(config: TrainingConfig) -> ModelConfig:
    """Of the start, where it exists already; of the preset otherwise."""
    start = config.model.start
    if start is None or not (start / "config.json").exists():
        return adapted_config(preset(config.model.preset), config.model)
    try:
        values = json.loads((start / "config.json").read_text("utf-8"))
        return adapted_config(ModelConfig.model_validate(values.get("towers", values)), config.model)
    except ValueError as error:
        raise BundleError(f"{start}: damaged checkpoint ({str(error).splitlines()[0]})") from None


def _steps(config: TrainingConfig, pairs: int | None) -> list[str]:
    if pairs is None:
        try:
            table = read_pairs(config.data.train, "train")
        except InputError as error:
            raise InputError(f"{error}; or give --pairs N to plan without the data") from None
        pairs = table.images if config.data.rows == "images" else len(table.captions)
    each = pairs // config.optimiser.batch_size
    total = config.schedule.max_steps or config.schedule.epochs * each
    ramp = int(config.schedule.warmup * total)
    return [
        f"steps        {total} ({pairs} pairs, {each} a pass, {total / max(1, each):.1f} passes), {ramp} of warm-up"
    ]


@dataclass(frozen=True, slots=True)
class _Sketch:
    """One configuration's model and micro-batch."""

    config: TrainingConfig
    shapes: ModelConfig
    model: LexLIP | DenseModel
    batch: int
    processes: int

    def header(self) -> list[str]:
        image, text, batch = self.shapes.image, self.shapes.text, self.batch
        assert image is not None
        assert text is not None
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        size, length = image.image_size, self.config.data.max_length
        micro = f"{self.config.optimiser.accumulation} micro-batches x {batch} pairs"
        tokens = f"image tokens ({batch}, {self._image().tokens}, {self.shapes.hidden_size})"
        pixels = f"pixels ({batch}, 3, {size}, {size}), text ({batch}, {length})"
        return [
            f"model        {self.shapes.name}, {self.config.model.representation}, {parameters / 1e6:.1f} M parameters",
            f"objective    {self.config.objective.kind}",
            f"batch        {self.config.optimiser.batch_size} = {self.processes} processes x {micro}",
            f"shapes       {pixels}, {tokens}, vectors ({batch}, {self._width()})",
        ]

    def operations(self) -> list[str]:
        """Of one optimiser step: a backward pass costs two forward passes."""
        images, texts = self._image(), self._text()
        lexicon = self.config.model.representation == "lexicon"
        head = [2 * c.tokens * self.shapes.hidden_size * self.shapes.vocab_size * lexicon for c in (images, texts)]
        forward = images.flops + texts.flops + sum(head)
        if self._momentum():
            total = 4 * forward  # the key encoders' forward pass has no backward pass
            what = "both towers, their key encoders"
        else:
            total = 3 * (forward + texts.flops)  # the masked text, too
            what = "both towers, the masked text; the decoder not counted"
        step = total * self.config.optimiser.batch_size
        return [f"operations   {step / 1e15:.3g} PFLOP an optimiser step ({what}), all processes together"]

    def memory(self) -> list[str]:
        width = {"fp16": 2, "bf16": 2, "f32": 4, "f64": 8}[self.config.run.precision]
        trained = sum(parameter.numel() for parameter in self.model.parameters())
        parts = weights_bytes(trained, trained if self._momentum() else 0)
        saved = self._image().saved + self._text().saved * (1 if self._momentum() else 2)
        parts["activations of the towers"] = saved * self.batch * width
        lines = [f"memory       a process, GiB: {', '.join(f'{k} {_gib(v)}' for k, v in parts.items() if v)}"]
        return [*lines, *self._alternatives(sum(parts.values()), width)]

    def _alternatives(self, common: int, width: int) -> list[str]:
        heads, queues = {"": 0}, {"": 0}
        if isinstance(self.model, LexLIP):
            plain, fused = head_bytes(self.shapes, self._image().tokens, self.config.data.max_length, self.batch, width)
            heads = {"plain head": plain, "fused head": fused}
        if self._momentum():
            dense = not isinstance(self.model, LexLIP)
            kinds = ("dense",) if dense else ("dense", "sparse")
            settings = [self.config.objective.model_copy(update={"storage": kind}) for kind in kinds]
            queues = {f"{c.storage} queue": queue_bytes(c, self._width(), dense) for c in settings}
        return [
            f"  {', '.join(filter(None, (head, queue))) or 'in all':26} "
            f"{' + '.join(_gib(part) for part in (heads[head], queues[queue]) if part) or '-':>15}"
            f"   in all {_gib(common + heads[head] + queues[queue])} GiB"
            for head in heads
            for queue in queues
        ]

    def _momentum(self) -> bool:
        return self.config.objective.kind == "momentum_contrast"

    def _width(self) -> int:
        return self.shapes.vocab_size if isinstance(self.model, LexLIP) else self.shapes.hidden_size

    def _image(self) -> ForwardCost:
        assert self.shapes.image is not None
        return image_cost(self.model, self.shapes.image.image_size)

    def _text(self) -> ForwardCost:
        return text_cost(self.model, self.config.data.max_length)


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f}"
