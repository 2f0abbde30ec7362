"""From a model's outputs to the vectors that objectives compare."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lexlip_training.dense_model import DenseModel
from lexlip_training.model import LexLIP
from lexlip_training.objectives.losses import at_least_float32

__all__ = ["full_precision", "image_vectors", "keep_strongest", "text_vectors", "unit_vectors", "vector_width"]


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
