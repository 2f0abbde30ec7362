"""What the training loop knows of an objective, what all objectives share, and the terms of their losses.

Similarities and FLOPS never run in half precision: callers give at least float32 and switch autocast off around them.

Every process computes the same global loss L from gathered values, and DistributedDataParallel then averages the
gradients. A process's share of the gradient of L is therefore multiplied by the number of processes W here, once, on
its way back: the average of the shares is the gradient of L. Nothing has to be communicated in the backward pass for
it. All processes must bring batches of equal size. Alone, or without a process group, everything is the identity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize

from lexlip_training.data.batch import IGNORED, PairBatch
from lexlip_training.model import DenseModel, LexLIP
from lexlip_training.objectives.config import ObjectiveConfig

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


class Objective(nn.Module, ABC):
    """A model and what it is trained for.

    Wrap it in DistributedDataParallel with `broadcast_buffers=False`: buffers are the same everywhere by construction,
    and a queue is large. Its `state_dict` resumes a run between optimiser steps. All processes bring equal batches.

    Attributes:
        config: its settings.
        model: what is trained.
        uses_masks: shares of tokens hidden in `encoder_masked` and `decoder_masked`; None where neither is read.
    """

    uses_masks: tuple[float, float] | None = None

    def __init__(self, config: ObjectiveConfig, model: LexLIP | DenseModel) -> None:
        super().__init__()
        self.config = config
        self.model = model

    @property
    def result(self) -> LexLIP | DenseModel:
        """What is evaluated and saved: the model, unless an objective says otherwise."""
        return self.model

    def clipped(self) -> Iterable[nn.Parameter]:
        """The parameters whose gradients are clipped by their common norm."""
        return self.parameters()

    @abstractmethod
    def forward(self, batch: PairBatch) -> dict[str, Tensor]:
        """The loss and its figures, all of the global batch.

        Returns:
            `loss`, to call backward on: averaged over processes, its gradient is the global loss's. Everything else
            is detached: the terms of the loss before their weights; `terms_image` and `terms_text`, the mean number
            of non-zero weights a vector; `alike_image` and `alike_text`, 1 where all vectors are the same.
        """

    def after_step(self) -> None:
        """Called once after every optimiser step, on every process."""

    def flops(self, images: Tensor, texts: Tensor) -> Tensor:
        """FLOPS of both sides, of vectors (B, V) as the model gives them, pruned or not."""
        view = unit_vectors if self.config.flops_normalised else at_least_float32
        return flops(view(images), self.config.counts) + flops(view(texts), self.config.counts)

    def figures(self, parts: dict[str, Tensor], images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """What `forward` returns, of the terms of the loss and the unit vectors (B, V) that the contrast saw."""
        weights = {"flops": self.config.flops_weight}
        loss = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        figures = {"loss": loss} | {name: part.detach() for name, part in parts.items()}
        for name, vectors in (("image", images.detach()), ("text", texts.detach())):
            count = vectors.count_nonzero().to(vectors.dtype)
            active, rows = global_sum(torch.stack([count, vectors.new_tensor(len(vectors))]))
            figures |= {f"terms_{name}": active / rows, f"alike_{name}": alikeness(vectors)}
        return figures


def full_precision(like: Tensor) -> torch.autocast:
    """Switch autocast off for what compares vectors: a half-precision cosine over 0.05 is off by tenths."""
    return torch.autocast(like.device.type, enabled=False)


def vector_width(model: LexLIP | DenseModel) -> int:
    """V terms of a lexicon model, D dimensions of a dense one."""
    return model.config.vocab_size if isinstance(model, LexLIP) else model.config.towers.hidden_size


def image_vectors(model: LexLIP | DenseModel, pixels: Tensor) -> Tensor:
    """(B, V) term weights of a lexicon model, (B, D) unit vectors of a dense one."""
    return model.image_weights(pixels) if isinstance(model, LexLIP) else model.image_vectors(pixels)


def text_vectors(model: LexLIP | DenseModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The same of texts."""
    encode = model.text_weights if isinstance(model, LexLIP) else model.text_vectors
    return encode(input_ids, attention_mask)


def keep_strongest(weights: Tensor, top_k: int) -> Tensor:
    """Each row's k largest weights, the rest 0; the gradient passes straight through to all of them."""
    if top_k >= weights.shape[1]:
        return weights
    largest = weights.detach().topk(top_k, dim=1)
    pruned = torch.zeros_like(weights).scatter(1, largest.indices, largest.values)
    return weights + (pruned - weights).detach()


def unit_vectors(weights: Tensor, top_k: int | None = None) -> Tensor:
    """Rows of length 1 in at least float32, pruned first where `top_k` says so; a row of zeros stays one."""
    weights = at_least_float32(weights)
    return normalize(weights if top_k is None else keep_strongest(weights, top_k), dim=1)
