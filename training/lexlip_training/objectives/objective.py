"""What the training loop knows of an objective, and what all objectives share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from lexlip_training.dense_model import DenseModel
from lexlip_training.model import LexLIP
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.losses import alikeness, at_least_float32, flops
from lexlip_training.objectives.ranks import global_sum
from lexlip_training.objectives.vectors import unit_vectors
from lexlip_training.pair_batch import PairBatch

__all__ = ["Objective"]


class Objective(nn.Module, ABC):
    """A model and what it is trained for.

    Wrap it in DistributedDataParallel with `broadcast_buffers=False`: buffers are the same everywhere by construction,
    and a queue is large. Its `state_dict` resumes a run between optimiser steps. All processes bring equal batches.

    Attributes:
        config: its settings.
        model: what is evaluated and saved.
        uses_masks: shares of tokens hidden in `encoder_masked` and `decoder_masked`; None where neither is read.
    """

    uses_masks: tuple[float, float] | None = None

    def __init__(self, config: ObjectiveConfig, model: LexLIP | DenseModel) -> None:
        super().__init__()
        self.config = config
        self.model = model

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
