"""lexicon_pool on a CPU: torch multiplies, C++ (kernels/cpp/lexicon_pool) takes the maxima and goes back through them.

Logits exist for a few rows at a time, those of masked tokens never, and of the maxima only the tokens are kept: the
backward pass sums over rows and terms, L times less than two more products. Arguments are checked by the caller.
Imports torch: only functions import this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lexlip_kernels import _native

if TYPE_CHECKING:
    from torch import Tensor

#: Logits that exist at a time: 32 MiB in float32.
_LOGITS = 2**23


def lexicon_pool(
    hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, saturated: bool
) -> tuple[Tensor, Tensor]:
    """Term weights, or with `saturated=False` maxima, (B, V) float32, and the token of each, (B, V) int16."""
    batch, length, _ = hidden.shape
    maxima, tokens = (torch.empty(batch, len(weight), dtype=dtype) for dtype in (torch.float32, torch.int16))
    admitted = torch.ones(batch, length, dtype=torch.bool) if mask is None else mask != 0
    packed, places = hidden[admitted], admitted.nonzero()[:, 1].short().numpy()
    offsets = np.concatenate([[0], admitted.sum(1).cumsum(0).numpy()])
    step = max(1, _LOGITS // (length * len(weight)))
    for first in range(0, batch, step):
        rows = slice(first, first + step)
        bounds = offsets[first : first + step + 1]
        own = slice(bounds[0], bounds[-1])
        logits, arrays = _array(packed[own] @ weight.T), (maxima[rows].numpy(), tokens[rows].numpy())
        _native.pool_maxima(logits, bounds - bounds[0], places[own], _threads(), *arrays)
    output = maxima + bias.float()
    return (output.relu().log1p() if saturated else output), tokens


def hidden_gradient(slope: Tensor, tokens: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """Gradient of hidden (B, L, H), of the dtype of `hidden`, summed in float32."""
    gradient = torch.empty(hidden.shape, dtype=torch.float32)
    _native.pool_hidden_gradient(slope.numpy(), tokens.numpy(), _floats(weight), _threads(), gradient.numpy())
    return gradient.to(hidden.dtype)


def weight_gradient(slope: Tensor, tokens: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """Gradient of weight (V, H), of the dtype of `weight`, summed in float32."""
    gradient = torch.empty(weight.shape, dtype=torch.float32)
    _native.pool_weight_gradient(slope.numpy(), tokens.numpy(), _floats(hidden), _threads(), gradient.numpy())
    return gradient.to(weight.dtype)


def _threads() -> int:
    return torch.get_num_threads()


def _floats(tensor: Tensor) -> Any:
    return tensor.float().contiguous().numpy()


def _array(logits: Tensor) -> Any:
    """The logits as the compiled code takes them: in float32, or the bits of bfloat16, which numpy does not have."""
    if logits.dtype == torch.bfloat16:
        return logits.contiguous().view(torch.int16).numpy().view(np.uint16)
    return _floats(logits)
