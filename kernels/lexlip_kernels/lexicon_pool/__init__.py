"""lexicon_pool: hidden states to dense, differentiable term weights (B, V), the op that training uses.

    max_logits[v] = max over unmasked tokens l of (hidden[l] . weight[v]) + bias[v]
    weights[v]    = log1p(relu(max_logits[v]))

The bias does not depend on the token and log1p(relu(.)) is monotone, so both follow the maximum exactly (LexLIP,
sparse representation; the official code applies relu, then max, then log, with the same result). This file
chooses a backend; it computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lexlip_kernels.backends import available_backends, choose_backend, choose_torch_backend
from lexlip_kernels.errors import InputError
from lexlip_kernels.lexicon_pool import reference
from lexlip_kernels.lexicon_pool.reference import saturate

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PoolBackend", "lexicon_pool", "max_logits", "saturate"]

PoolBackend = Literal["auto", "native", "triton", "reference"]


def max_logits(
    hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None = None, backend: PoolBackend = "auto"
) -> Tensor:
    """Vocabulary logits, maximised over tokens, before saturation; differentiable in `hidden`, `weight` and `bias`.

    Args:
        hidden: (B, L, H), tokens after the head's transform and LayerNorm.
        weight: (V, H), the decoder, of the same dtype (under autocast both are converted).
        bias: (V,), the decoder's bias.
        mask: (B, L), non-zero where a token takes part; all take part when absent. A true mask: masked tokens are
            left out of the maximum, whatever their logits.
        backend: `"auto"` is Triton for CUDA tensors where it is installed, native on a CPU, else the
            reference, which alone takes float64. Neither of the first two ever holds (B, L, V); both sum gradients
            in float32.

    Returns:
        (B, V); -inf in a row without any unmasked token. Float32 but from the reference.

    Raises:
        InputError: shapes, dtypes or devices do not fit (torch refuses them itself in the reference).
        BackendUnavailable: the backend is asked for by name and cannot run here.
    """
    chosen = _choose(hidden, backend)
    if chosen == "reference":
        return reference.max_logits(hidden, weight, bias, mask)
    return _operator(hidden, weight, bias, mask, saturated=False, native=chosen == "native")


def lexicon_pool(
    hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None = None, backend: PoolBackend = "auto"
) -> Tensor:
    """Term weights (B, V) >= 0 of each row; arguments and errors as in `max_logits`."""
    chosen = _choose(hidden, backend)
    if chosen == "reference":
        return reference.lexicon_pool(hidden, weight, bias, mask)
    return _operator(hidden, weight, bias, mask, saturated=True, native=chosen == "native")


def _choose(hidden: Tensor, backend: PoolBackend) -> Literal["native", "triton", "reference"]:
    on_cpu = hidden.device.type == "cpu"
    if backend == "auto" and on_cpu:
        return available_backends()[0] if hidden.element_size() < 8 else "reference"
    if backend != "native":
        return choose_torch_backend(backend, hidden.device.type)
    if not on_cpu:
        raise InputError(f"backend 'native' works on a CPU; the tensors lie on {hidden.device}: use backend='auto'")
    return choose_backend(backend)


def _operator(
    hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, saturated: bool, native: bool
) -> Tensor:
    from lexlip_kernels.lexicon_pool import autograd

    return autograd.lexicon_pool(hidden, weight, bias, mask, saturated, native)
