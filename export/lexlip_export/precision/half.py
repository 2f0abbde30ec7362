"""A model in half precision, as a GPU computes it: float16 weights and products, float32 where half cannot hold.

The copy is a torch module like the original, with the same module paths. The exporter turns it into the fp16 graphs
and the parity gate runs it on the CPU, so that what is validated is what is shipped. ONNX Runtime's CPU provider
up-casts float16 graphs and would not notice an overflow.

Float32 islands: normalisation layers (an eps of 1e-12 is 0 in half, and squares overflow from 256 on), the decoder's
bias and the term bonus; the head saturates in float32 in any case. Batch norms are not folded into convolutions:
rounding the products of both raises the error of lexlip-tiny. Attention scores are spelled out instead of fused, so
that they are rounded to half here as they are in the graph.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lexlip_kernels.errors import BundleError
from lexlip_training.model import LexLIP

__all__ = ["LARGEST_HALF", "half_model"]

LARGEST_HALF = 65504.0

_FLOAT32_LAYERS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
_FLOAT32_PARAMETERS = ("image_head.bias", "text_head.bias", "term_bonus")


def half_model(model: LexLIP) -> LexLIP:
    """A copy in half precision with float32 islands; the original stays as it is.

    Args:
        model: in float32 and evaluation mode.

    Raises:
        BundleError: a weight is beyond the range of float16; the message names it.
    """
    half = copy.deepcopy(model).half()
    for name, original in model.named_modules():
        if isinstance(original, _FLOAT32_LAYERS):
            _keep_float32(half.get_submodule(name), original)
        if hasattr(original, "fused_attn"):
            setattr(half.get_submodule(name), "fused_attn", False)  # noqa: B010  (timm's switch, unknown to nn.Module)
    parameters = dict(half.named_parameters())
    for name, parameter in model.named_parameters():
        if name in _FLOAT32_PARAMETERS:
            parameters[name].data = parameter.detach().clone()
        elif parameters[name].dtype == torch.float16:
            _check_range(name, parameter)
    return half


def _keep_float32(layer: nn.Module, original: nn.Module) -> None:
    """Give a layer its float32 weights back, and casts around it."""
    layer.float().load_state_dict(original.state_dict())
    layer.register_forward_pre_hook(_to_float)
    layer.register_forward_hook(_to_half)


def _to_float(_layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.float() if isinstance(value, Tensor) else value for value in inputs)


def _to_half(_layer: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.half()


def _check_range(name: str, parameter: Tensor) -> None:
    largest = float(parameter.detach().abs().max()) if parameter.numel() else 0.0
    if not largest <= LARGEST_HALF:
        raise BundleError(
            f"precision fp16 refused: the weight {name} reaches {largest:.6g}, {largest / LARGEST_HALF:.3g} times the "
            f"largest half ({LARGEST_HALF:.0f}); export without --precision fp16"
        )
