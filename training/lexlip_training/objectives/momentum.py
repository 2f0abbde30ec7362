"""Phase 2 and fine-tuning: momentum lexicon contrast (LexLIP, section "Phase 2"; He et al., MoCo).

    loss = 1/2 (text -> image key + queued image keys) + 1/2 (image -> text key + queued text keys)
         + flops_weight * flops

Keys come from slowly following copies of the encoders. Other pairs of the batch are no negatives; the queue is all
there is. Once per optimiser step the copies move, then the keys seen since the last step enter the queue.

The queue is a ring of the last N pairs of keys, of images and of texts, which share one position and one list of image
ids, by which other captions of a query's image are no negatives. At the paper's size two dense float32 queues take
2.8 GB; keys can be held in half precision or by their strongest terms. Only a chunk of a compact queue is ever dense,
in the forward and again in the backward pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lexlip_training.data.batch import PairBatch
from lexlip_training.model import DenseModel, LexLIP
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.objective import (
    Objective,
    full_precision,
    gather_constant,
    global_sum,
    image_vectors,
    queue_contrast,
    text_vectors,
    unit_vectors,
    vector_width,
    world_size,
)

#: Image id of a key that no image has.
NO_IMAGE = torch.iinfo(torch.int64).min
#: Keys that are dense at a time: 125 MB at 30,522 terms.
CHUNK = 1024

#: Tensors of B rows each, see `KeyRows.pack`.
Packed = tuple[Tensor, ...]


class KeyRows(nn.Module, ABC):
    """N rows of width V in buffers. A row is packed once, and moves between processes packed.

    Args:
        size: N.
        width: V.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size, self.width = size, width

    @abstractmethod
    def pack(self, keys: Tensor) -> Packed:
        """Keys (B, V) as they are stored; the last tensor holds numbers, any other says which terms they are of."""

    @abstractmethod
    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """Packed rows as keys (B, V) again, without what packing took from them."""

    @abstractmethod
    def stored(self) -> Packed:
        """The buffers, in the order of `pack`."""

    def dense(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """Rows (stop - start, V)."""
        return self.unpack(tuple(part[start:stop] for part in self.stored()), dtype)

    def write(self, slots: Tensor, packed: Packed) -> None:
        """Store packed rows in these slots."""
        for buffer, rows in zip(self.stored(), packed, strict=True):
            buffer[slots] = rows.to(buffer.dtype)

    def scores(self, queries: Tensor) -> Tensor:
        """Products (B, N) of queries (B, V) with all rows; the rows have no gradient."""
        products: Tensor = _Scores.apply(queries, self)  # type: ignore[no-untyped-call]
        return products


class DenseRows(KeyRows):
    """All numbers of a row.

    Args:
        size: N.
        width: V.
        dtype: float32, or float16 for half of it.
    """

    values: Tensor

    def __init__(self, size: int, width: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(size, width)
        self.register_buffer("values", torch.zeros(size, width, dtype=dtype))

    def pack(self, keys: Tensor) -> Packed:
        """The keys in the dtype of the buffer."""
        return (keys.to(self.values.dtype),)

    def stored(self) -> Packed:
        """The one buffer."""
        return (self.values,)

    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """A view, or a copy in another dtype."""
        return packed[0].to(dtype)


class SparseRows(KeyRows):
    """The k strongest terms of a row: ids in int32, weights in float16.

    Args:
        size: N.
        width: V.
        top_k: k; what a key loses beyond it is its similarity to nothing else.
    """

    ids: Tensor
    values: Tensor

    def __init__(self, size: int, width: int, top_k: int) -> None:
        super().__init__(size, width)
        self.top_k = min(top_k, width)
        self.register_buffer("ids", torch.zeros(size, self.top_k, dtype=torch.int32))
        self.register_buffer("values", torch.zeros(size, self.top_k, dtype=torch.float16))

    def pack(self, keys: Tensor) -> Packed:
        """Ids and weights, strongest first; not normalised again, so that a score is only ever too small."""
        strongest = keys.topk(self.top_k, dim=1)
        return strongest.indices.to(torch.int32), strongest.values.to(self.values.dtype)

    def stored(self) -> Packed:
        """Ids and weights."""
        return self.ids, self.values

    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """Scattered; an empty slot is a row of zeros."""
        ids, values = packed
        rows = torch.zeros(len(ids), self.width, dtype=dtype, device=values.device)
        return rows.scatter_(1, ids.long(), values.to(dtype))


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, rows: KeyRows) -> Tensor:
        ctx.rows = rows
        chunks = _chunks(rows.size)
        return torch.cat([queries @ rows.dense(start, stop, queries.dtype).T for start, stop in chunks], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows: KeyRows = ctx.rows
        total = gradient.new_zeros(len(gradient), rows.width)
        for start, stop in _chunks(rows.size):
            total += gradient[:, start:stop] @ rows.dense(start, stop, gradient.dtype)
        return total, None


def _chunks(size: int) -> list[tuple[int, int]]:
    return [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]


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
