"""What a run would be: shapes, parameters, steps, operations and memory, without training and without weights.

Activations are what autograd keeps of a forward pass, counted on torch's meta device (no memory, no arithmetic), one
pair, times the micro-batch, at the width of the precision; LayerNorm and softmax keep float32 under autocast, so in
half precision this is a lower bound. Not counted: CUDA's context, workspaces, fragmentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lexlip_infer.files import read_json
from lexlip_kernels.errors import BundleError, InputError
from lexlip_training.config import ModelConfig, preset
from lexlip_training.data import read_pairs
from lexlip_training.engine.run import micro_batch_size
from lexlip_training.engine.settings import TrainingConfig
from lexlip_training.engine.starting_model import adapted_config, enable_gradient_checkpointing
from lexlip_training.model import DenseConfig, DenseModel, LexLIP
from lexlip_training.objectives.momentum import queue_bytes


@dataclass(frozen=True, slots=True)
class ForwardCost:
    """Of one input's forward pass through a tower, up to the hidden states.

    Attributes:
        tokens: L.
        flops: floating-point operations, two a multiply-add.
        saved: numbers that autograd keeps for the backward pass.
    """

    tokens: int
    flops: int
    saved: int


def image_cost(model: LexLIP | DenseModel, size: int) -> ForwardCost:
    """Of one image (3, size, size); the model lies on the meta device."""
    pixels = torch.empty(1, 3, size, size, device="meta")
    return _cost(lambda: model.image_tower(model.image_tower.backbone_tokens(pixels)), model)


def text_cost(model: LexLIP | DenseModel, length: int) -> ForwardCost:
    """Of one text of `length` tokens."""
    ids = torch.zeros(1, length, dtype=torch.long, device="meta")
    # Without a mask, whose contents transformers would look at: meta tensors have none.
    return _cost(lambda: model.text_tower.bert(input_ids=ids).last_hidden_state, model)


def _cost(forward: Callable[[], Tensor], model: nn.Module) -> ForwardCost:
    saved: dict[int, int] = {}
    held: list[Tensor] = []  # so that no storage's number is given twice
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001

    def keep(tensor: Tensor) -> Tensor:
        number = tensor.untyped_storage()._cdata  # noqa: SLF001  (the identity of a storage without memory)
        if number not in weights:
            saved[number] = tensor.untyped_storage().nbytes() // tensor.element_size()
            held.append(tensor)
        return tensor

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        tokens = forward()
    return ForwardCost(tokens.shape[1], counter.get_total_flops(), sum(saved.values()))


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
    assert shapes.image is not None  # adapted configurations have both towers
    costs = image_cost(model, shapes.image.image_size), text_cost(model, config.data.max_length)
    sketch = _Sketch(config, shapes, model, batch, processes, *costs)
    return "\n".join([*sketch.header(), *_steps(config, pairs), *sketch.operations(), *sketch.memory()])


def _shapes(config: TrainingConfig) -> ModelConfig:
    """Of the start, where it exists already; of the preset otherwise."""
    start = config.model.start
    if start is None or not (start / "config.json").exists():
        return adapted_config(preset(config.model.preset), config.model)
    try:
        values = read_json(start / "config.json", refuse=ValueError)
        return adapted_config(
            ModelConfig.model_validate(values.get("towers", values) if isinstance(values, dict) else values),
            config.model,
        )
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
    images: ForwardCost
    texts: ForwardCost

    def header(self) -> list[str]:
        image, text, batch = self.shapes.image, self.shapes.text, self.batch
        assert image is not None
        assert text is not None
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        size, length = image.image_size, self.config.data.max_length
        micro = f"{self.config.optimiser.accumulation} micro-batches x {batch} pairs"
        tokens = f"image tokens ({batch}, {self.images.tokens}, {self.shapes.hidden_size})"
        pixels = f"pixels ({batch}, 3, {size}, {size}), text ({batch}, {length})"
        return [
            f"model        {self.shapes.name}, {self.config.model.representation}, {parameters / 1e6:.1f} M parameters",
            f"objective    {self.config.objective.kind}",
            f"batch        {self.config.optimiser.batch_size} = {self.processes} processes x {micro}",
            f"shapes       {pixels}, {tokens}, vectors ({batch}, {self._width()})",
        ]

    def operations(self) -> list[str]:
        """Of one optimiser step: a backward pass costs two forward passes."""
        forward = self.images.flops + self.texts.flops
        if isinstance(self.model, LexLIP):
            tokens = self.images.tokens + self.texts.tokens
            forward += 2 * tokens * self.shapes.hidden_size * self.shapes.vocab_size
        if self._momentum():
            total = 4 * forward  # the key encoders' forward pass has no backward pass
            what = "both towers, their key encoders"
        else:
            total = 3 * (forward + self.texts.flops)  # two texts an image
            recipe = self.config.objective.kind == "recipe"
            what = "both towers, two captions" if recipe else "both towers, the masked text; the decoder not counted"
        step = total * self.config.optimiser.batch_size
        return [f"operations   {step / 1e15:.3g} PFLOP an optimiser step ({what}), all processes together"]

    def memory(self) -> list[str]:
        width = {"fp16": 2, "bf16": 2, "f32": 4, "f64": 8}[self.config.run.precision]
        trained = sum(parameter.numel() for parameter in self.model.parameters())
        parts = {"weights": 4 * trained, "gradients": 4 * trained, "Adam moments": 8 * trained}
        parts["key encoders"] = 4 * trained if self._momentum() else 0
        saved = self.images.saved + self.texts.saved * (1 if self._momentum() else 2)
        parts["activations of the towers"] = saved * self.batch * width
        lines = [f"memory       a process, GiB: {', '.join(f'{k} {_gib(v)}' for k, v in parts.items() if v)}"]
        return [*lines, *self._alternatives(sum(parts.values()), width)]

    def _alternatives(self, common: int, width: int) -> list[str]:
        heads, queues = {"": 0}, {"": 0}
        if isinstance(self.model, LexLIP):
            # Logits (B, L, V) and their gradient; or, of each term, a float32 maximum, the int32 number of its token,
            # and the maximum's gradient.
            logits = 2 * width * self.batch * max(self.images.tokens, self.config.data.max_length)
            heads = {
                "plain head": logits * self.shapes.vocab_size,
                "fused head": 2 * 12 * self.batch * self.shapes.vocab_size,
            }
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


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f}"
