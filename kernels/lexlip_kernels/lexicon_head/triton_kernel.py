"""lexicon_head on NVIDIA GPUs: product, maximum over tokens, bias, top-k and saturation, nothing of shape (B, L, V).

It composes what `lexicon_pool` and `lexicon_topk` hold: the fused product and maximum leaves one (B, V) scratch, whose
k largest positive entries are selected, ranked and saturated. The bias is added when that scratch is first read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lexlip_kernels.lexicon_pool.triton_kernel import max_logits
from lexlip_kernels.lexicon_topk.triton_kernel import top_k

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["top_terms"]


def top_terms(
    hidden: Tensor, weight: Tensor, bias: Tensor, k: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The k heaviest terms of each row; arguments, checked, and results as in `lexicon_head` for tensors.

    Products are accumulated in float32; float32 operands are multiplied exactly, not as TF32.
    """
    with torch.no_grad(), torch.cuda.device(hidden.get_device()):
        return top_k(max_logits(hidden, weight, mask), k, bias.contiguous())
