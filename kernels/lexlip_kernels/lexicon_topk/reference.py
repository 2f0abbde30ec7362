"""The definition of lexicon_topk in plain torch: everything in float32, a full stable sort.

torch is imported for its types only; every operation is a tensor method, so this module loads without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_kernels.head_rule import LEXLIP, HeadRule
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


def ruled_top_k(
    pooled: Tensor, k: int, rule: HeadRule = LEXLIP, own: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The same under any rule, own terms (B, O) included: (B, k + O) each, and counts."""
    if rule == LEXLIP and own is None:
        return top_k(pooled, k)
    pooled = pooled.float()
    weights = (
        pooled.clamp(max=0).exp().where(pooled <= 0, pooled + 1) if rule.saturation == "elu1p" else saturate(pooled)
    )
    order = pooled.sort(dim=1, descending=True, stable=True).indices
    kept = pooled.new_zeros((pooled.shape[0], pooled.shape[1] + 1)).bool()
    kept.scatter_(1, order[:, :k], True)
    if own is not None:
        kept.scatter_(1, own.where(own >= 0, pooled.shape[1]), True)  # the column behind the last term is nobody's
    kept = kept[:, :-1] & (weights > 0)
    width = k + (0 if own is None else own.shape[1])
    chosen = weights.where(kept, 0).gather(1, order).sort(dim=1, descending=True, stable=True)
    found = min(width, pooled.shape[1])
    ids, values = pooled.new_full((len(pooled), width), -1).long(), pooled.new_zeros((len(pooled), width))
    values[:, :found] = chosen.values[:, :found]
    ids[:, :found] = order.gather(1, chosen.indices[:, :found]).where(values[:, :found] > 0, -1)
    if rule.normalise:
        norms = weights.double().norm(dim=1, keepdim=True)
        values = (values / norms.where(norms > 0, 1)).float()
    return ids, values, kept.sum(1).int()


def lexicon_topk(
    logits: Tensor, k: int, mask: Tensor | None = None, rule: HeadRule = LEXLIP, own: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and results as in `lexlip_kernels.lexicon_topk.lexicon_topk`."""
    return ruled_top_k(pool(logits, mask) if logits.ndim == 3 else logits, k, rule, own)
