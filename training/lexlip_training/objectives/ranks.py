"""Sums and batches over all processes, with the gradient that DistributedDataParallel's averaging needs.

Every process computes the same global loss L from gathered values, and DDP then averages the gradients. A process's
share of the gradient of L is therefore multiplied by the number of processes W here, once, on its way back: the average
of the shares is the gradient of L. Nothing has to be communicated in the backward pass for it. All processes must
bring batches of equal size. Without a process group, or alone in one, everything is the identity.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["gather", "gather_constant", "global_sum", "world_size"]


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
