"""lexicon_pool: hidden states to dense, differentiable term weights (B, V), the op that training uses.

    max_logits[v] = max over unmasked tokens l of (hidden[l] . weight[v]) + bias[v]
    weights[v]    = log1p(relu(max_logits[v]))

The bias does not depend on the token and log1p(relu(.)) is monotone, so both follow the maximum exactly (LexLIP,
sparse representation; the official code applies relu, then max, then log, with the same result). This file
chooses a backend; it computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_kernels.backends import TorchBackend, choose_torch_backend
from lexlip_kernels.lexicon_pool import reference
from lexlip_kernels.lexicon_pool.reference import saturate

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["lexicon_pool", "max_logits", "saturate"]


def _triton_is_chosen(hidden: Tensor, backend: TorchBackend) -> bool:
    return choose_torch_backend(backend, hidden.device.type) == "triton"


def max_logits(
    hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None = None, backend: TorchBackend = "auto"
) -> Tensor:
    """Vocabulary logits, maximised over tokens, before saturation; differentiable in `hidden`, `weight` and `bias`.

    Args:
        hidden: (B, L, H), tokens after the head's transform and LayerNorm.
        weight: (V, H), the decoder, of the same dtype (under autocast both are converted).
        bias: (V,), the decoder's bias.
        mask: (B, L), non-zero where a token takes part; all take part when absent. A true mask: masked tokens are
            left out of the maximum, whatever their logits.
        backend: `"auto"` is Triton for CUDA tensors where Triton is installed, else the reference. Triton takes
            float16, bfloat16 and float32, accumulates in float32 and never holds (B, L, V).

    Returns:
        (B, V); -inf in a row without any unmasked token. Float32 from Triton.

    Raises:
        InputError: shapes, dtypes or devices do not fit (Triton only; torch refuses them itself).
        BackendUnavailable: Triton is asked for by name and cannot run here.
    """
    if _triton_is_chosen(hidden, backend):
        return _triton(hidden, weight, bias, mask, saturated=False)
    return reference.max_logits(hidden, weight, bias, mask)


def lexicon_pool(
    hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None = None, backend: TorchBackend = "auto"
) -> Tensor:
    """Term weights (B, V) >= 0 of each row; arguments and errors as in `max_logits`."""
    if _triton_is_chosen(hidden, backend):
        return _triton(hidden, weight, bias, mask, saturated=True)
    return reference.lexicon_pool(hidden, weight, bias, mask)


def _triton(hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, saturated: bool) -> Tensor:
    from lexlip_kernels.lexicon_pool import autograd

    return autograd.lexicon_pool(hidden, weight, bias, mask, saturated)
