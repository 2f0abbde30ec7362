"""lexicon_pool as a torch operator with a gradient: `torch.ops.lexlip.lexicon_pool`.

Registered as a custom operator with a shape function, so that torch.compile keeps it whole. The forward saves its
output, which is alive anyway, and the tokens of the maxima: 2 bytes a term instead of the logits of every token.

    d log1p(relu(z)) / dz = 1 / (1 + z) = exp(-output)   where output > 0, else 0

Among equal maxima the first token gets the whole gradient (the reference, torch's `amax`, shares it among them: both
are subgradients). `native` says who computes: C++ on a CPU, or Triton. Imports torch: only functions
import this module.
"""

from __future__ import annotations

from typing import Any

import torch

from lexlip_kernels.torch_checks import check_decoder


@torch.library.custom_op("lexlip::lexicon_pool", mutates_args=())
def _forward(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor | None,
    saturated: bool,
    native: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    if native:
        from lexlip_kernels.lexicon_pool.compiled import lexicon_pool as pool

        return pool(hidden, weight, bias, mask, saturated)
    from lexlip_kernels.lexicon_pool.triton_kernel import lexicon_pool as fused_pool

    with torch.cuda.device(hidden.get_device()):
        return fused_pool(hidden, weight, bias, mask, saturated)


@_forward.register_fake
def _forward_shapes(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,  # noqa: ARG001  (the signature is the operator's)
    mask: torch.Tensor | None,  # noqa: ARG001
    saturated: bool,  # noqa: ARG001
    native: bool = False,  # noqa: ARG001
) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (hidden.shape[0], weight.shape[0])
    return hidden.new_empty(shape, dtype=torch.float32), hidden.new_empty(shape, dtype=torch.int16)


@torch.library.custom_op("lexlip::lexicon_pool_backward", mutates_args=())
def _backward(
    slope: torch.Tensor, token: torch.Tensor, hidden: torch.Tensor, weight: torch.Tensor, native: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """From the gradient of the maxima before saturation, (B, V) float32, contiguous, 0 where there is no token."""
    arrays = slope, token, hidden, weight
    if native:
        from lexlip_kernels.lexicon_pool.compiled import hidden_gradient, weight_gradient

        return hidden_gradient(*arrays), weight_gradient(*arrays)
    from lexlip_kernels.lexicon_pool.triton_backward import hidden_gradient as to_hidden
    from lexlip_kernels.lexicon_pool.triton_backward import weight_gradient as to_weight

    with torch.cuda.device(hidden.get_device()):
        return to_hidden(*arrays), to_weight(*arrays)


@_backward.register_fake
def _backward_shapes(
    slope: torch.Tensor,  # noqa: ARG001  (the signature is the operator's)
    token: torch.Tensor,  # noqa: ARG001
    hidden: torch.Tensor,
    weight: torch.Tensor,
    native: bool,  # noqa: ARG001
) -> tuple[torch.Tensor, torch.Tensor]:
    contiguous = torch.contiguous_format
    return torch.empty_like(hidden, memory_format=contiguous), torch.empty_like(weight, memory_format=contiguous)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    hidden, weight, bias, _, ctx.saturated, ctx.native = inputs
    ctx.bias_dtype = bias.dtype
    ctx.save_for_backward(hidden, weight, *output)


def _gradients(
    ctx: Any, gradient: torch.Tensor, _token_gradient: None
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, None, None, None]:
    hidden, weight, output, token = ctx.saved_tensors
    slope = gradient * torch.exp(-output) if ctx.saturated else gradient
    slope = torch.where(output > 0 if ctx.saturated else token >= 0, slope, 0.0).contiguous()
    gradients = _backward(slope, token, hidden, weight, ctx.native)
    return *gradients, slope.sum(0).to(ctx.bias_dtype), None, None, None


_forward.register_autograd(_gradients, setup_context=_save)


def lexicon_pool(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor | None,
    saturated: bool,
    native: bool,
) -> torch.Tensor:
    """(B, V) float32: term weights, or with `saturated=False` the maxima of the logits before saturation.

    Under autocast, `hidden` and `weight` are taken in autocast's dtype, as a matrix product would take them; what
    `check_decoder` refuses is therefore refused here.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    check_decoder(hidden, weight, bias, mask)
    output: torch.Tensor = _forward(hidden, weight, bias, mask, saturated, native)[0]
    return output
