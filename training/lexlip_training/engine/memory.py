"""Where the bytes of a training step lie, counted rather than guessed where that is possible without a GPU.

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

from lexlip_training.config import ModelConfig
from lexlip_training.dense_model import DenseModel
from lexlip_training.model import LexLIP

__all__ = ["ForwardCost", "head_bytes", "image_cost", "text_cost", "weights_bytes"]


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


def weights_bytes(trained: int, keys: int) -> dict[str, int]:
    """Float32 weights, gradients, Adam's two moments, and the key encoders' weights.

    Args:
        trained: parameters with a gradient.
        keys: parameters of the momentum encoders.
    """
    return {"weights": 4 * trained, "gradients": 4 * trained, "Adam moments": 8 * trained, "key encoders": 4 * keys}


def head_bytes(config: ModelConfig, image_tokens: int, text_tokens: int, batch: int, width: int) -> tuple[int, int]:
    """Peak of one side's lexicon head with logits (B, L, V) and their gradient, and of the fused one.

    The fused head keeps, of each term, a float32 maximum, the int32 number of its token, and the maximum's gradient.

    Args:
        config: V.
        image_tokens: L of an image.
        text_tokens: L of a text.
        batch: B.
        width: bytes of a logit.
    """
    logits = 2 * width * batch * max(image_tokens, text_tokens) * config.vocab_size
    return logits, 2 * 12 * batch * config.vocab_size
