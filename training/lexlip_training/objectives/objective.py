"""What the training loop knows of an objective, what all objectives share, and the vectors that they compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lexlip_training.data.batch import PairBatch
from lexlip_training.dense_model import DenseModel
from lexlip_training.model import LexLIP
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.losses import alikeness, at_least_float32, flops, global_sum

__all__ = [
    "Objective",
    "full_precision",
    "image_vectors",
    "keep_strongest",
    "text_vectors",
    "unit_vectors",
    "vector_width",
]


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
