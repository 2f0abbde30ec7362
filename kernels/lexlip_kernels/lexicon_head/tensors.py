"""lexicon_head on tensors: which backend runs, and the definition in torch. The Triton kernel is in `triton_kernel`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexlip_kernels.lexicon_pool import reference as pool_reference
from lexlip_kernels.lexicon_topk import reference as topk_reference
from lexlip_kernels.torch_backends import TorchBackend, choose_torch_backend
from lexlip_kernels.torch_checks import check_decoder, check_k

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TensorDecoder", "reference_terms", "top_terms"]


@dataclass(frozen=True, slots=True, eq=False)
class TensorDecoder:
    """A decoder that lies where the hidden states do, for the torch backends.

    Attributes:
        weight: (V, H), of the dtype of the hidden states: float16, bfloat16 or float32.
        bias: (V,); suppressed terms at -1e4.
    """

    weight: Tensor
    bias: Tensor


def top_terms(
    hidden: Tensor, decoder: TensorDecoder, mask: Tensor | None, k: int, backend: TorchBackend
) -> tuple[Tensor, Tensor, Tensor]:
    """Check and dispatch; arguments and results as in `lexlip_kernels.lexicon_head.lexicon_head`."""
    check_k(k)
    check_decoder(hidden, decoder.weight, decoder.bias, mask)
    if choose_torch_backend(backend, hidden.device.type) == "triton":
        from lexlip_kernels.lexicon_head import triton_kernel

        return triton_kernel.top_terms(hidden, decoder.weight, decoder.bias, k, mask)
    return reference_terms(hidden, decoder.weight, decoder.bias, k, mask)


def reference_terms(
    hidden: Tensor, weight: Tensor, bias: Tensor, k: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition on tensors, in their dtype: all logits (B, L, V), a full stable sort."""
    return topk_reference.top_k(pool_reference.max_logits(hidden, weight, bias, mask), k)
