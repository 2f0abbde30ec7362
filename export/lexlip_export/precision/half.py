"""A model in half precision, as a GPU computes it: float16 weights and products, float32 where half cannot hold.

The copy is a torch module like the original, with the same module paths. The exporter turns it into the fp16 graphs
and the parity gate runs it on the CPU, so that what is validated is what is shipped. ONNX Runtime's CPU provider
up-casts float16 graphs and would not notice an overflow.

Float32 islands: normalisation layers (an eps of 1e-12 is 0 in half, and squares overflow from 256 on), the decoder's
bias and the term bonus; the head saturates in float32 in any case. Batch norms are not folded into convolutions:
rounding the products of both raises the error of lexlip-tiny. Attention scores are spelled out instead of fused, so
that they are rounded to half here as they are in the graph.

An overflow probe watches the output of every layer while the half model runs, and names the one that leaves the range
of float16 first. What comes after the first infinity is infinite too, so the size of the excess is taken from the
float32 model on the same inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lexlip_kernels.errors import BundleError
from lexlip_training.model import LexLIP

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


Peaks = dict[str, float]
"""Largest magnitude of each layer's output, by module path; infinite where one is infinite or not a number."""


@contextmanager
def watched(model: nn.Module) -> Iterator[Peaks]:
    """Record the peaks of a model's layers, in the order in which they first run; several forwards share a maximum."""
    found: Peaks = {}
    hooks = [
        module.register_forward_hook(partial(_record, found, path)) for path, module in model.named_modules() if path
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _record(found: Peaks, path: str, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
    outputs = output if isinstance(output, tuple) else (output,)
    for value in outputs:
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            peak = min(torch.inf, float(value.abs().max()))  # infinite for NaN too
            found[path] = max(found.get(path, 0.0), peak)


def check_finite(half: Peaks, float32: Callable[[], Peaks]) -> None:
    """Refuse a half model that overflowed.

    Args:
        half: peaks of the half model.
        float32: measures those of the float32 model on the same inputs; called only to report an overflow.

    Raises:
        BundleError: a layer's output was not finite; the message names the first such layer and its float32 peak.
    """
    first = next((path for path, peak in half.items() if not peak <= LARGEST_HALF), None)
    if first is None:
        return
    size = float32().get(first, torch.inf)
    excess = (
        f"reaches {size:.6g} in float32, {size / LARGEST_HALF:.3g} times the largest half ({LARGEST_HALF:.0f})"
        if size > LARGEST_HALF
        else f"is not finite in half (largest output in float32: {size:.6g}, so a value inside it overflows)"
    )
    raise BundleError(
        f"precision fp16 refused: layer {first} overflows first: it {excess}; export without --precision fp16"
    )
