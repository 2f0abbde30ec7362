"""Losses of the recipe that trains `lexlip-tiny`, each a function of representations, none of a model.

The contrast is LexLIP's in-batch lexicon contrast (section "Phase 1": L2-normalised lexicon vectors, cross entropy in
both directions), widened to several captions an image. The inference-free query and the word target come from the
SPLADE line of work: they tie each term of the vocabulary to the word it spells, where a small data set alone
would not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

__all__ = ["flops", "info_nce", "word_divergence"]


def info_nce(images: Tensor, texts: Tensor, scale: Tensor, image_ids: Tensor) -> Tensor:
    """Symmetric InfoNCE with several texts an image, positives sharing the target equally.

    Args:
        images: (B, V) weights.
        texts: (B*n, V) weights, the n texts of an image adjacent.
        scale: (), inverse temperature.
        image_ids: (B,), equal where two rows show the same image, whose pairs are then positives, too.
    """
    texts_each = len(texts) // len(images)
    scores = scale * normalize(images.float(), dim=1) @ normalize(texts.float(), dim=1).T
    positive = (image_ids[:, None] == image_ids.repeat_interleave(texts_each)[None, :]).float()
    to_text = -(log_softmax(scores, dim=1) * positive).sum(1) / positive.sum(1)
    to_image = -(log_softmax(scores, dim=0) * positive).sum(0) / positive.sum(0)
    return 0.5 * (to_text.mean() + to_image.mean())


def word_divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the words that people used to the model's term distribution.

    Args:
        logits: (B, V) max-pooled logits before saturation; their softmax is LexLIP's lexicon bottleneck.
        target: (B, V), each row a distribution over terms.
    """
    log_target = torch.where(target > 0, target, 1.0).log()
    return (target * (log_target - log_softmax(logits.float(), dim=1))).sum(1).mean()


def flops(weights: Tensor) -> Tensor:
    """Expected number of multiplications of an inverted index: the sum over terms of the squared mean weight.

    Args:
        weights: (B, V), not normalised: on unit vectors this could only spread mass, never shrink it.
    """
    return weights.float().mean(0).square().sum()
