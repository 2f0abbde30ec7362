"""lexicon_head on tensors: which backend runs, the definition in torch, and Triton's composition of two other ops.

On NVIDIA GPUs nothing is of shape (B, L, V): the fused product and maximum of `lexicon_pool` leaves one (B, V) scratch,
whose k largest positive entries `lexicon_topk` selects, ranks and saturates. The bias is added when that scratch is
first read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexlip_kernels.backends import TorchBackend, choose_torch_backend
from lexlip_kernels.head_rule import LEXLIP, HeadRule
from lexlip_kernels.lexicon_pool import reference as pool_reference
from lexlip_kernels.lexicon_topk import reference as topk_reference
from lexlip_kernels.torch_checks import check_decoder, check_k, check_own

if TYPE_CHECKING:
    from torch import Tensor


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
    hidden: Tensor,
    decoder: TensorDecoder,
    mask: Tensor | None,
    k: int,
    backend: TorchBackend,
    rule: HeadRule = LEXLIP,
    own: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Check and dispatch; arguments and results as in `lexlip_kernels.lexicon_head.lexicon_head`."""
    check_k(k)
    check_decoder(hidden, decoder.weight, decoder.bias, mask)
    check_own(own, hidden)
    k = min(k, len(decoder.bias))
    if choose_torch_backend(backend, hidden.device.type) == "triton":
        return triton_terms(hidden, decoder.weight, decoder.bias, k, mask, rule, own)
    return reference_terms(hidden, decoder.weight, decoder.bias, k, mask, rule, own)


def reference_terms(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    k: int,
    mask: Tensor | None = None,
    rule: HeadRule = LEXLIP,
    own: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition on tensors, in their dtype: all logits (B, L, V), a full stable sort."""
    return topk_reference.ruled_top_k(pool_reference.max_logits(hidden, weight, bias, mask), k, rule, own)


def triton_terms(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    k: int,
    mask: Tensor | None = None,
    rule: HeadRule = LEXLIP,
    own: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in Triton: products accumulated in float32; float32 operands multiplied exactly, not as TF32.

    What follows the maximum is Triton's for LexLIP's own rule, torch's for any other.
    """
    import torch

    from lexlip_kernels.lexicon_pool.triton_kernel import max_logits
    from lexlip_kernels.lexicon_topk.triton_kernel import top_k

    with torch.no_grad(), torch.cuda.device(hidden.get_device()):
        maxima = max_logits(hidden, weight, mask)
        if rule != LEXLIP or own is not None:
            return topk_reference.ruled_top_k(maxima.float() + bias.float(), k, rule, own)
        terms: tuple[Tensor, Tensor, Tensor] = top_k(maxima, k, bias.contiguous())
        return terms
