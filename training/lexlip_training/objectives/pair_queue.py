"""The queue of momentum contrast: a ring of the last N pairs of keys, of images and of texts.

The pairs share one position and one list of image ids, by which other captions of a query's image are no negatives.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.key_rows import DenseRows, KeyRows, Packed, SparseRows

__all__ = ["PairQueue", "queue_bytes", "queue_storage"]

#: Image id of a key that no image has.
NO_IMAGE = torch.iinfo(torch.int64).min


def queue_storage(config: ObjectiveConfig, dense_model: bool = False) -> Literal["sparse", "half", "dense"]:
    """How the queue holds keys once "auto" is decided."""
    if config.storage != "auto":
        return config.storage
    return "dense" if dense_model else "sparse"


def queue_bytes(config: ObjectiveConfig, vocab_size: int, dense_model: bool = False) -> int:
    """Memory of the queue, both sides and the image ids, in bytes.

    Args:
        config: gives size and storage.
        vocab_size: V terms, or D dimensions of a dense model.
        dense_model: what "auto" storage depends on.
    """
    sparse = (4 + 2) * min(config.queue_top_k, vocab_size)
    key = {"sparse": sparse, "half": 2 * vocab_size, "dense": 4 * vocab_size}[queue_storage(config, dense_model)]
    return config.queue_size * (2 * key + 8)


class PairQueue(nn.Module):
    """N pairs of keys and where the next one goes, all in buffers.

    Args:
        config: size, storage, overflow rule and start.
        width: V or D.
        dense_model: what "auto" storage depends on.
    """

    image_ids: Tensor
    position: Tensor
    filled: Tensor

    def __init__(self, config: ObjectiveConfig, width: int, dense_model: bool = False) -> None:
        super().__init__()
        self.size, self.overflow = config.queue_size, config.queue_overflow
        self.images, self.texts = (_rows(config, width, dense_model) for _ in range(2))
        self.register_buffer("image_ids", torch.full((self.size,), NO_IMAGE))
        self.register_buffer("position", torch.tensor(0))
        self.register_buffer("filled", torch.tensor(0))
        if config.queue_start == "gaussian":
            self._fill(width)

    def _fill(self, width: int) -> None:
        """Random directions, the same on every process, whatever its seed."""
        generator = torch.Generator().manual_seed(0)
        for rows in (self.images, self.texts):
            noise = normalize(torch.randn(self.size, width, generator=generator), dim=1)
            rows.write(torch.arange(self.size), rows.pack(noise))
        self.filled.fill_(self.size)

    def allowed(self, image_ids: Tensor, same_image_negatives: bool) -> Tensor:
        """(B, N), true where a queued key is a negative of a query whose image has this id."""
        slots = torch.arange(self.size, device=image_ids.device)
        present = (slots < self.filled).expand(len(image_ids), -1)
        return present if same_image_negatives else present & (image_ids[:, None] != self.image_ids[None, :])

    @torch.no_grad()
    def push(self, images: Packed, texts: Packed, image_ids: Tensor) -> None:
        """Replace the oldest pairs by new ones, in order.

        Args:
            images: B keys, packed by `self.images`.
            texts: B keys, packed by `self.texts`.
            image_ids: (B,).
        """
        position, count = int(self.position), len(image_ids)
        first, stop = max(0, count - self.size), count
        if self.overflow == "drop":
            first, stop = 0, min(count, self.size - position)
        slots = (position + torch.arange(first, stop, device=image_ids.device)) % self.size
        self.images.write(slots, tuple(part[first:stop] for part in images))
        self.texts.write(slots, tuple(part[first:stop] for part in texts))
        self.image_ids[slots] = image_ids[first:stop]
        self.position.fill_((position + stop) % self.size)
        self.filled.clamp_(min=min(self.size, position + stop))


def _rows(config: ObjectiveConfig, width: int, dense_model: bool) -> KeyRows:
    storage = queue_storage(config, dense_model)
    if storage == "sparse":
        return SparseRows(config.queue_size, width, config.queue_top_k)
    return DenseRows(config.queue_size, width, torch.float16 if storage == "half" else torch.float32)
