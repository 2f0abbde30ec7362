"""The terms of LexLIP's losses, each a function of tensors, none of a model, over one process or many.

Similarities and FLOPS never run in half precision: callers give at least float32 and switch autocast off around them.

Every process computes the same global loss L from gathered values, and DistributedDataParallel then averages the
gradients. A process's share of the gradient of L is therefore multiplied by the number of processes W here, once, on
its way back: the average of the shares is the gradient of L. Nothing has to be communicated in the backward pass for
it. All processes must bring batches of equal size. Alone, or without a process group, everything is the identity.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from lexlip_training.data.batch import IGNORED

__all__ = [
    "Counts",
    "alikeness",
    "at_least_float32",
    "flops",
    "gather",
    "gather_constant",
    "global_sum",
    "masked_tokens",
    "pair_contrast",
    "queue_contrast",
    "world_size",
]

Counts = Literal["global", "local"]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision widened, everything else as it is."""
    return tensor.float() if tensor.element_size() < 4 else tensor


def _mean(total: Tensor, count: Tensor, counts: Counts) -> Tensor:
    """The mean over all processes' elements, or the mean of each process's own mean."""
    if counts == "global":
        return global_sum(total) / global_sum(count).clamp_min(1)
    return global_sum(total / count.clamp_min(1)) / world_size()


def masked_tokens(hidden: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, counts: Counts = "global") -> Tensor:
    """Cross entropy of the hidden tokens, mean over all of them (LexLIP, L_self, L_i2t and L_t2t).

    Args:
        hidden: (B, L, H) after the head's transform; only labelled positions meet the vocabulary.
        labels: (B, L), `IGNORED` where nothing is predicted.
        weight: (V, H), the decoder.
        bias: (V,), its bias.
        counts: what the mean is over.
    """
    chosen = labels != IGNORED
    logits = at_least_float32(linear(hidden[chosen], weight, bias))
    total = cross_entropy(logits, labels[chosen], reduction="sum")
    return _mean(total, chosen.sum().to(total.dtype), counts)


def pair_contrast(images: Tensor, texts: Tensor, temperature: float, same_image: Tensor | None = None) -> Tensor:
    """In-batch contrast in both directions (LexLIP, L_baco).

    Args:
        images: (N, V) unit vectors of the global batch.
        texts: (N, V), row i belonging to image i.
        temperature: divides the cosines.
        same_image: (N, N), true where two rows show the same image; they are no negatives of each other.
    """
    scores = texts @ images.T / temperature
    own = torch.arange(len(scores), device=scores.device)
    if same_image is not None:
        siblings = same_image & (own[:, None] != own[None, :])
        scores = scores.masked_fill(siblings, float("-inf"))
    return 0.5 * (cross_entropy(scores, own) + cross_entropy(scores.T, own))


def queue_contrast(queries: Tensor, keys: Tensor, negatives: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """Contrast with one positive key each, against a queue (LexLIP, Phase 2; He et al., MoCo).

    Args:
        queries: (B, V) unit vectors.
        keys: (B, V), the momentum encoder's unit vectors of the other side.
        negatives: (B, N), cosines of queries and queued keys.
        allowed: (B, N), true where the queued key is a negative.
        temperature: divides the cosines.

    Returns:
        The mean over the global batch.
    """
    positive = (queries * keys).sum(dim=1, keepdim=True)
    scores = torch.cat([positive, negatives.masked_fill(~allowed, float("-inf"))], dim=1) / temperature
    first = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    total = cross_entropy(scores, first, reduction="sum")
    return _mean(total, total.new_tensor(len(scores)), "global")


def flops(vectors: Tensor, counts: Counts = "global") -> Tensor:
    """FLOPS: the sum over terms of the squared mean weight (Paria et al.; LexLIP, both phases).

    Args:
        vectors: (B, V), this process's.
        counts: whether the mean is over all processes' vectors, or each takes its own and the results are averaged.
    """
    total, count = vectors.abs().sum(dim=0), vectors.new_tensor(len(vectors))
    if counts == "global":
        return _mean(total, count, "global").square().sum()
    return global_sum((total / count).square().sum()) / world_size()


@torch.no_grad()
def alikeness(vectors: Tensor) -> Tensor:
    """The squared length of the mean of unit vectors (B, V): 1 where all are the same, 1 / rows where all differ."""
    return _mean(vectors.sum(dim=0), vectors.new_tensor(len(vectors)), "global").square().sum()


def world_size() -> int:
    """W, the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_constant(local: Tensor) -> Tensor:
    """Rows of all processes (W*B, ...), in the order of their ranks, without a gradient."""
    if world_size() == 1:
        return local.detach()
    rows = [torch.empty_like(local, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(rows, local.detach().contiguous())
    return torch.cat(rows)


def gather(local: Tensor, true_gradient: bool = True) -> Tensor:
    """Rows of all processes (W*B, ...), in the order of their ranks.

    Args:
        local: (B, ...), this process's rows.
        true_gradient: False leaves the factor W out, as the official code does.
    """
    if world_size() == 1:
        return local
    gathered: Tensor = _Gather.apply(local, world_size() if true_gradient else 1)  # type: ignore[no-untyped-call]
    return gathered


def global_sum(local: Tensor) -> Tensor:
    """The sum of a tensor over all processes."""
    if world_size() == 1:
        return local
    total: Tensor = _Sum.apply(local)  # type: ignore[no-untyped-call]
    return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, factor: int) -> Tensor:
        ctx.factor, ctx.rows = factor, len(local)
        return gather_constant(local)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        start = dist.get_rank() * ctx.rows
        return ctx.factor * gradient[start : start + ctx.rows], None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, local: Tensor) -> Tensor:
        total = local.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return world_size() * gradient
