"""The terms of the recipe's loss, each a function of logits or weights and of what they should be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, normalize

#: Token ids of the captions of each image.
TokenIds = Sequence[Sequence[Sequence[int]]]


def shares(rows: Tensor) -> Tensor:
    """Rows divided by their sums; an empty one stays empty."""
    return rows / rows.sum(dim=1, keepdim=True).clamp_min(1e-9)


def inverse_document_frequency(captions: Sequence[Sequence[int]], vocab_size: int, suppressed: Sequence[int]) -> Tensor:
    """ln(number of captions / captions that hold the term), of a term in none as if one did, 0 if suppressed; (V,)."""
    frequency = torch.zeros(vocab_size)
    for ids in captions:
        frequency[list(set(ids))] += 1
    idf = (len(captions) / frequency.clamp_min(1)).log()
    idf[list(suppressed)] = 0.0
    return idf


def word_targets(images: TokenIds, idf: Tensor) -> Tensor:
    """Each image's words, counted over its captions, weighted by idf, summing to one; (N, V)."""
    targets = torch.zeros(len(images), len(idf))
    for row, captions in zip(targets, images, strict=True):
        for ids in captions:
            row[list(set(ids))] += 1
    return shares(targets * idf)


def lookup_queries(input_ids: Tensor, weights: Tensor) -> Tensor:
    """Inference-free queries (B, V): the weight (V,) of each term that stands in the text (B, L)."""
    present = torch.zeros(len(input_ids), len(weights), device=input_ids.device)
    return present.scatter(1, input_ids, 1.0) * weights


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


def matched(units: Tensor, others: Tensor, scale: Tensor) -> Tensor:
    """Cross entropy, both ways, of finding its own among unit vectors (n, V) by the cosine times `scale`."""
    scores = scale * units @ others.T
    own = torch.arange(len(units), device=units.device)
    return 0.5 * (cross_entropy(scores, own) + cross_entropy(scores.T, own))


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence from a distribution to the softmax of logits, mean over rows; empty rows give 0.

    Args:
        logits: (B, V); of max-pooled logits before saturation the softmax is LexLIP's lexicon bottleneck.
        target: (B, V), each row a distribution.
    """
    log_target = torch.where(target > 0, target, 1.0).log()
    return (target * (log_target - log_softmax(logits.float(), dim=1))).sum(1).mean()


def flops(weights: Tensor) -> Tensor:
    """Expected number of multiplications of an inverted index: the sum over terms of the squared mean weight.

    Args:
        weights: (B, V), not normalised: on unit vectors this could only spread mass, never shrink it.
    """
    return weights.float().mean(0).square().sum()
