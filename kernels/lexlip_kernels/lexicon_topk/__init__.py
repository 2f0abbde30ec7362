"""lexicon_topk: logits that exist already to the k heaviest terms of each row (the path of GPUs before Ampere).

    pooled[v]  = max over unmasked tokens l of logits[l, v]
    weights[v] = log1p(relu(pooled[v])), of the k largest positive pooled[v] only

relu and log1p are monotone, so choosing by `pooled` and saturating what was chosen is exact (LexLIP, sparse
representation). This file checks the arguments and chooses a backend; it computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_kernels.backends import TorchBackend, choose_torch_backend
from lexlip_kernels.head_rule import LEXLIP, HeadRule
from lexlip_kernels.lexicon_topk import reference
from lexlip_kernels.torch_checks import check_k, check_logits, check_own

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["lexicon_topk"]


def lexicon_topk(
    logits: Tensor,
    k: int,
    mask: Tensor | None = None,
    backend: TorchBackend = "auto",
    *,
    rule: HeadRule = LEXLIP,
    own: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The k heaviest terms of each row, ranked by pooled logit descending, then by id ascending.

    Args:
        logits: (B, L, V), or (B, V) where they are pooled already; float16, bfloat16 or float32, contiguous along V.
        k: terms to keep, at least 1; may exceed V, but no more than V are made room for: K = min(k, V).
        mask: (B, L), non-zero where a token takes part; all take part when absent. A true mask: masked logits are not
            even read, whatever they are.
        rule: saturation and norm; LexLIP's own when absent. Another one is applied by torch after Triton's maximum.
        own: (B, O) int64, terms to keep beside the k heaviest, unless they weigh 0; -1 is none. Results then have O
            columns more.
        backend: `"auto"` is Triton for CUDA tensors where Triton is installed, else the reference.

    Returns:
        ids (B, K) int64, -1 after the last term; weights (B, K) float32 >= 0, un-normalised, 0 after the last term;
        counts (B,) int32, the terms of each row: fewer than K where fewer logits are positive.

    Raises:
        InputError: shapes, dtypes or devices do not fit, k is below 1, or logits are strided along V.
        BackendUnavailable: Triton is asked for by name and cannot run here.
    """
    check_k(k)
    check_logits(logits, mask)
    check_own(own, logits)
    k = min(k, logits.shape[-1])
    if choose_torch_backend(backend, logits.device.type) == "triton":
        from lexlip_kernels.lexicon_topk import triton_kernel

        return triton_kernel.lexicon_topk(logits, k, mask, rule, own)
    return reference.lexicon_topk(logits, k, mask, rule, own)
