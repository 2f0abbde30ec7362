"""The definition of lexicon_topk in plain torch: everything in float32, a full stable sort.

torch is imported for its types only; every operation is a tensor method, so this module loads without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_kernels.lexicon_pool.reference import saturate

if TYPE_CHECKING:
    from torch import Tensor


def pool(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Maximum over the unmasked tokens of logits (B, L, V), as (B, V) float32; -inf in a row without any."""
    logits = logits.float()
    if mask is not None:
        logits = logits.masked_fill(mask.unsqueeze(-1) == 0, float("-inf"))
    return logits.amax(dim=1)


def top_k(pooled: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest positive entries of (B, V) as in `lexicon_topk`: value descending, then id ascending."""
    ranked, order = pooled.float().sort(dim=1, descending=True, stable=True)
    batch, found = pooled.shape[0], min(k, pooled.shape[1])
    kept = ranked[:, :found] > 0
    ids = pooled.new_full((batch, k), -1).long()
    weights = pooled.new_zeros((batch, k)).float()
    ids[:, :found] = order[:, :found].where(kept, ids[:, :found])
    weights[:, :found] = saturate(ranked[:, :found]).where(kept, weights[:, :found])
    return ids, weights, kept.sum(1).int()


def lexicon_topk(logits: Tensor, k: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and results as in `lexlip_kernels.lexicon_topk.lexicon_topk`."""
    return top_k(pool(logits, mask) if logits.ndim == 3 else logits, k)
