"""Evaluate the lower, frozen part of a backbone once per image and view, and remember the result.

On a CPU the stem and first blocks of a convolutional backbone cost several times what the rest of a training step
costs. While they are frozen their output depends on the crop alone, so a run with V views computes fresh crops in its
first V epochs and walks through the stored ones afterwards. Works on timm's EfficientNet family, which MobileNetV2
belongs to; anything else is refused.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lexlip_kernels.errors import InputError
from lexlip_training.image_tower import ImageTower

__all__ = ["FrozenStem"]


#: Images at a time through the lower half: a few fit the cache, a whole batch does not and takes twice as long.
CHUNK = 8


class FrozenStem:
    """A backbone split in two, with a store for what the lower half gave.

    Args:
        tower: its backbone is split; parameters stay shared with it.
        blocks: stages that belong to the lower half.
        images: N, rows of the training set.
        views: V, crops to remember of each image.

    Raises:
        InputError: the backbone has no stem and blocks to split at.
    """

    def __init__(self, tower: ImageTower, blocks: int, images: int, views: int) -> None:
        backbone = tower.backbone
        if not all(hasattr(backbone, name) for name in ("conv_stem", "bn1", "blocks", "conv_head", "bn2")):
            raise InputError(
                f"{tower.config.backbone} has no stem to freeze; this recipe trains timm's EfficientNet family"
            )
        self.lower = nn.Sequential(backbone.conv_stem, backbone.bn1, *backbone.blocks[:blocks])
        self.upper = nn.Sequential(*backbone.blocks[blocks:], backbone.conv_head, backbone.bn2)
        self.views = views
        self._store: list[Tensor | None] = [None] * views
        self._images = images

    def freeze(self, frozen: bool) -> None:
        """Stop, or let through, gradients to the lower half."""
        self.lower.requires_grad_(not frozen)

    def knows(self, view: int) -> bool:
        """Whether every image's output for this view is stored."""
        return self._store[view % self.views] is not None

    @torch.no_grad()
    def remember(self, view: int, image_ids: Tensor, pixels: Tensor) -> Tensor:
        """Evaluate the lower half on fresh pixels (B, 3, S, S) and store the result (B, C, h, w)."""
        features = torch.cat([self.lower(chunk).to(torch.bfloat16) for chunk in torch.split(pixels, CHUNK)])
        store = self._store[view % self.views]
        if store is None:
            # channels_last, as the convolutions that read it want it
            store = torch.zeros(self._images, *features.shape[1:], dtype=features.dtype)
            store = store.contiguous(memory_format=torch.channels_last)
            self._store[view % self.views] = store
        store[image_ids] = features
        return features

    def recall(self, view: int, image_ids: Tensor) -> Tensor:
        """What `remember` stored for these images."""
        store = self._store[view % self.views]
        assert store is not None
        return store[image_ids].contiguous(memory_format=torch.channels_last)

    def tokens(self, features: Tensor) -> Tensor:
        """The upper half, trainable: stored features to backbone tokens (B, L, C)."""
        tokens: Tensor = self.upper(features).flatten(2).transpose(1, 2)
        return tokens
