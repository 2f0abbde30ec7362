"""The objective that trained `lexlip-tiny` from a few thousand captioned photographs on one CPU.

    loss = InfoNCE(image, text)                      in-batch lexicon contrast, several captions an image
         + bag_weight * InfoNCE(image, bag)          the same against inference-free queries (learned term weights)
         + word_weight * KL(words || image terms)    terms of an image follow the idf-weighted words people used for it
         + flops_weight * (FLOPS(image) + FLOPS(text))

The contrast is LexLIP's in-batch lexicon contrast (section "Phase 1": L2-normalised lexicon vectors, cross entropy in
both directions), widened to several captions an image. The inference-free query and the word target come from the
SPLADE line of work: they tie each term of the vocabulary to the word it spells, where a small data set alone would not.
The learned temperature and the bag's term weights belong to the objective, not to the model, and are not shipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lexlip_kernels.lexicon_pool import saturate
from lexlip_training.data.batch import PairBatch
from lexlip_training.model import LexLIP
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.objective import Objective

#: Of the captions of each image.
TokenIds = Sequence[Sequence[Sequence[int]]]


class RecipeObjective(Objective):
    """Several captions an image against the images of the batch, and what ties terms to words.

    Args:
        config: of kind "recipe".
        model: with both towers. The average of its weights over the steps is what is evaluated and saved.
        captions: token ids of every training image's captions, in the order of their image ids.
    """

    model: LexLIP
    idf: Tensor
    targets: Tensor

    def __init__(self, config: ObjectiveConfig, model: LexLIP, captions: TokenIds) -> None:
        super().__init__(config, model)
        shapes = model.config
        idf = inverse_document_frequency(
            [ids for image in captions for ids in image], shapes.vocab_size, shapes.suppressed_ids
        )
        self.learned = nn.ParameterDict(
            {"log_scale": torch.tensor(20.0).log(), "bag": idf.clamp_min(0.1).expm1().log()}
        )
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.average_decay))  # type: ignore[no-untyped-call]
        self.average.requires_grad_(False)
        self.register_buffer("idf", idf, persistent=False)
        self.register_buffer("targets", word_targets(captions, idf), persistent=False)

    @property
    def result(self) -> LexLIP:
        """The average."""
        averaged = self.average.module
        assert isinstance(averaged, LexLIP)
        return averaged

    def clipped(self) -> Iterable[nn.Parameter]:
        """The model's: temperature and bag take gradients of any size."""
        return self.model.parameters()

    def forward(self, batch: PairBatch) -> dict[str, Tensor]:
        """The loss and its parts.

        Args:
            batch: of B images and n captions of each, those of one image adjacent.
        """
        logits = self.model.image_logits(self.model.image_tower.backbone_tokens(batch.pixels))
        images = saturate(logits)
        texts = self.model.text_weights(batch.input_ids, batch.attention_mask)
        scale = self.learned["log_scale"].exp().clamp(max=100.0)
        parts = {
            "contrast": info_nce(images, texts, scale, batch.image_ids),
            "bag": info_nce(images, self.bag_queries(batch.input_ids), scale, batch.image_ids),
            "words": word_divergence(logits, self.targets[batch.image_ids]),
            "flops": flops(images) + flops(texts),
        }
        config = self.config
        weights = {"bag": config.bag_weight, "words": config.word_weight, "flops": config.flops_weight}
        loss = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        return {"loss": loss} | {name: part.detach() for name, part in parts.items()}

    def after_step(self) -> None:
        """Let the average follow."""
        self.average.update_parameters(self.model)

    def bag_queries(self, input_ids: Tensor) -> Tensor:
        """Inference-free queries (B, V): the learned weight of each term that stands in the text."""
        weights = nn.functional.softplus(self.learned["bag"]) * (self.idf > 0)
        present = torch.zeros(len(input_ids), len(weights), device=input_ids.device)
        return present.scatter(1, input_ids, 1.0) * weights


def inverse_document_frequency(captions: Sequence[Sequence[int]], vocab_size: int, suppressed: Sequence[int]) -> Tensor:
    """ln(number of captions / captions that hold the term), 0 for suppressed and unseen terms; (V,)."""
    frequency = torch.zeros(vocab_size)
    for ids in captions:
        frequency[list(set(ids))] += 1
    idf = torch.where(frequency > 0, (len(captions) / frequency.clamp_min(1)).log(), 0.0)
    idf[list(suppressed)] = 0.0
    return idf


def word_targets(images: TokenIds, idf: Tensor) -> Tensor:
    """Each image's words, counted over its captions, weighted by idf, summing to one; (N, V)."""
    targets = torch.zeros(len(images), len(idf))
    for row, captions in zip(targets, images, strict=True):
        for ids in captions:
            row[list(set(ids))] += 1
    targets *= idf
    return targets / targets.sum(dim=1, keepdim=True).clamp_min(1e-9)


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
