"""lexicon_head on NVIDIA GPUs: product, maximum over tokens, bias, top-k and saturation, nothing of shape (B, L, V).

It composes what `lexicon_pool` and `lexicon_topk` hold: the fused product and maximum leaves one (B, V) scratch, whose
k largest positive entries are selected, ranked and saturated. The bias is added when that scratch is first read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lexlip_kernels.lexicon_pool.triton_kernel import max_logits
from lexlip_kernels.lexicon_topk.triton_kernel import top_k
from lexlip_kernels.torch_backends import choose_torch_backend
from lexlip_kernels.torch_checks import check_decoder, check_k

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["lexicon_head_cuda"]


def lexicon_head_cuda(
    hidden: Tensor, weight: Tensor, bias: Tensor, k: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The k heaviest terms of each row, from hidden states that are on the GPU; nothing waits for the CPU.

    weights[v] = log1p(relu(max over unmasked l of (hidden[l] . weight[v]) + bias[v])), as `lexicon_pool.reference`
    defines it; products are accumulated in float32.

    Args:
        hidden: (B, L, H), after the head's transform and LayerNorm; float16, bfloat16 or float32, L <= 32,767.
        weight: (V, H), the decoder, of the same dtype. Float32 is multiplied exactly, not as TF32.
        bias: (V,), the decoder's bias.
        k: terms to keep, at least 1; may exceed V.
        mask: (B, L), non-zero where a token takes part; all take part when absent.

    Returns:
        ids (B, k) int64, by logit descending, then id ascending, -1 after the last term; weights (B, k) float32,
        un-normalised, 0 after the last term; counts (B,) int32.

    Raises:
        InputError: shapes, dtypes or devices do not fit, or k is below 1.
        BackendUnavailable: the tensors lie on a device that Triton cannot run on.
    """
    check_k(k)
    check_decoder(hidden, weight, bias, mask)
    choose_torch_backend("triton", hidden.device.type)
    with torch.no_grad(), torch.cuda.device(hidden.get_device()):
        return top_k(max_logits(hidden, weight, mask), k, bias.contiguous())
