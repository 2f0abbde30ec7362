"""Phase 2 and fine-tuning: momentum lexicon contrast (LexLIP, section "Phase 2"; He et al., MoCo).

    loss = 1/2 (text -> image key + queued image keys) + 1/2 (image -> text key + queued text keys)
         + flops_weight * flops

Keys come from slowly following copies of the encoders. Other pairs of the batch are no negatives; the queue is all
there is. Once per optimiser step the copies move, then the keys seen since the last step enter the queue.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lexlip_training.data.batch import PairBatch
from lexlip_training.dense_model import DenseModel
from lexlip_training.model import LexLIP
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.losses import gather_constant, global_sum, queue_contrast, world_size
from lexlip_training.objectives.objective import (
    Objective,
    full_precision,
    image_vectors,
    text_vectors,
    unit_vectors,
    vector_width,
)
from lexlip_training.objectives.pair_queue import Packed, PairQueue

__all__ = ["MomentumContrast"]


class MomentumContrast(Objective):
    """Contrast against a queue of momentum keys, for lexicon and dense models alike.

    Beside the common figures, `queue_mass` is the share of squared length that packing leaves of a key: a score that
    the queue gives is off by at most sqrt(1 - queue_mass).

    Args:
        config: of kind "momentum_contrast".
        model: with both towers and its weights loaded; the key encoders start as its copy. They follow its training
            mode, dropout included, as the official ones do.
    """

    def __init__(self, config: ObjectiveConfig, model: LexLIP | DenseModel) -> None:
        super().__init__(config, model)
        self.key_model = deepcopy(model).requires_grad_(False)
        self.queue = PairQueue(config, vector_width(model), isinstance(model, DenseModel))
        self._move = get_ema_multi_avg_fn(config.momentum)  # type: ignore[no-untyped-call]
        self._pending: list[tuple[Packed, Packed, Tensor]] = []

    def forward(self, batch: PairBatch) -> dict[str, Tensor]:
        """The loss and its figures; see `Objective`. In training mode the keys wait for `after_step`."""
        config = self.config
        images = image_vectors(self.model, batch.pixels)
        texts = text_vectors(self.model, batch.input_ids, batch.attention_mask)
        with full_precision(images):
            unit_images, unit_texts = unit_vectors(images, config.joint_top_k), unit_vectors(texts, config.joint_top_k)
        image_keys, text_keys = self.encode_keys(batch)
        with full_precision(images):
            packed = self.queue.images.pack(image_keys), self.queue.texts.pack(text_keys)
            # As the queue holds its negatives: a key that lost nothing would win for that alone, and nothing be learnt.
            dtype = image_keys.dtype
            image_keys = self.queue.images.unpack(packed[0], dtype)
            text_keys = self.queue.texts.unpack(packed[1], dtype)
            contrast = self._contrast(unit_images, unit_texts, image_keys, text_keys, batch.image_ids)
            parts = {"contrast": contrast, "flops": self.flops(images, texts)}
            figures = self.figures(parts, unit_images, unit_texts)
        return figures | {"queue_mass": self._remember(*packed, batch.image_ids, dtype)}

    @torch.no_grad()
    def encode_keys(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Unit vectors (B, V) of images and texts by the momentum encoders."""
        images = image_vectors(self.key_model, batch.pixels)
        texts = text_vectors(self.key_model, batch.input_ids, batch.attention_mask)
        with full_precision(images):
            return unit_vectors(images, self.config.joint_top_k), unit_vectors(texts, self.config.joint_top_k)

    def after_step(self) -> None:
        """Move the key encoders, then store the keys that all processes have seen since the last step."""
        with torch.no_grad():
            self._move(list(self.key_model.parameters()), list(self.model.parameters()), None)
        for images, texts, image_ids in self._pending:
            self.queue.push(_gathered(images), _gathered(texts), gather_constant(image_ids))
        self._pending.clear()

    def _contrast(
        self, images: Tensor, texts: Tensor, image_keys: Tensor, text_keys: Tensor, image_ids: Tensor
    ) -> Tensor:
        allowed = self.queue.allowed(image_ids, self.config.same_image_negatives)
        directions = ((texts, image_keys, self.queue.images), (images, text_keys, self.queue.texts))
        losses = [
            queue_contrast(queries, keys, rows.scores(queries), allowed, self.config.temperature)
            for queries, keys, rows in directions
        ]
        return 0.5 * (losses[0] + losses[1])

    @torch.no_grad()
    def _remember(self, images: Packed, texts: Packed, image_ids: Tensor, dtype: torch.dtype) -> Tensor:
        if self.training:
            self._pending.append((images, texts, image_ids))
        mass = [packed[-1].to(dtype).square().sum(dim=1).mean() for packed in (images, texts)]
        return global_sum(0.5 * (mass[0] + mass[1])) / world_size()


def _gathered(packed: Packed) -> Packed:
    return tuple(gather_constant(part) for part in packed)
