"""The recipe that trains `lexlip-tiny` from a few thousand captioned photographs on one CPU.

    loss = InfoNCE(image, text)                      in-batch lexicon contrast, two captions an image
         + bag_weight * InfoNCE(image, bag)          the same against inference-free queries (learned term weights)
         + word_weight * KL(words || image terms)    terms of an image follow the idf-weighted words people used for it
         + flops_weight * (FLOPS(image) + FLOPS(text))

The learned temperature and the bag's term weights belong to the recipe, not to the model, and are not shipped.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from lexlip_kernels.lexicon_pool import saturate
from lexlip_training.captioned_images import Batch
from lexlip_training.model import LexLIP
from lexlip_training.objectives.recipe_losses import flops, info_nce, word_divergence

__all__ = ["Recipe", "RecipeSettings", "inverse_document_frequency", "word_targets"]


class RecipeSettings(BaseModel):
    """Weights of the objectives and the schedule of the optimiser. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=28, gt=0)
    unfreeze_epoch: int = Field(default=25, ge=0, description="from this epoch on the whole backbone trains")
    stem_blocks: int = Field(default=5, ge=0, description="stages held still until then")
    views: int = Field(default=5, gt=0, description="fresh crops of each image while the stem is frozen")
    evaluate_every: int = Field(default=3, gt=0, description="epochs, while the stem is frozen; then every one")
    batch_size: int = Field(default=128, gt=1)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    backbone_rate: float = Field(default=0.15, gt=0, description="factor on the learning rate of the backbone")
    weight_decay: float = Field(default=0.02, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of all steps")
    gradient_norm: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    bag_weight: float = Field(default=0.5, ge=0)
    word_weight: float = Field(default=1.0, ge=0)
    flops_weight: float = Field(default=2e-3, ge=0)
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of a caption's tokens left out, at random")
    seed: int = 0


class Recipe(nn.Module):
    """The objective, with the parameters that only training needs.

    Args:
        settings: weights of the objectives.
        idf: (V,) inverse document frequencies of the training captions, 0 for suppressed terms.
        targets: (N, V) word distribution of each training image.
    """

    idf: Tensor
    targets: Tensor

    def __init__(self, settings: RecipeSettings, idf: Tensor, targets: Tensor) -> None:
        super().__init__()
        self.settings = settings
        self.log_scale = nn.Parameter(torch.tensor(20.0).log())
        self.bag = nn.Parameter(idf.clamp_min(0.1).expm1().log())
        self.register_buffer("idf", idf, persistent=False)
        self.register_buffer("targets", targets, persistent=False)

    def forward(self, model: LexLIP, backbone_tokens: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The loss and its parts, by name; `loss` is the weighted sum.

        Args:
            model: the model to train.
            backbone_tokens: (B, L, C), of the batch's images.
            batch: its texts and image ids; the pixels are not read.
        """
        logits = model.image_logits(backbone_tokens)
        images = saturate(logits)
        texts = model.text_weights(batch.input_ids, batch.attention_mask)
        scale = self.log_scale.exp().clamp(max=100.0)
        parts = {
            "contrast": info_nce(images, texts, scale, batch.image_ids),
            "bag": info_nce(images, self.bag_queries(batch.input_ids), scale, batch.image_ids),
            "words": word_divergence(logits, self.targets[batch.image_ids]),
            "flops": flops(images) + flops(texts),
        }
        weights = {
            "contrast": 1.0,
            "bag": self.settings.bag_weight,
            "words": self.settings.word_weight,
            "flops": self.settings.flops_weight,
        }
        parts["loss"] = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return parts

    def bag_queries(self, input_ids: Tensor) -> Tensor:
        """Inference-free queries (B, V): the learned weight of each term that stands in the text."""
        weights = nn.functional.softplus(self.bag) * (self.idf > 0)
        present = torch.zeros(len(input_ids), len(weights), device=input_ids.device)
        return present.scatter(1, input_ids, 1.0) * weights


def inverse_document_frequency(captions: list[list[int]], vocab_size: int, suppressed: tuple[int, ...]) -> Tensor:
    """ln(number of captions / captions that hold the term), 0 for suppressed and unseen terms; (V,)."""
    frequency = torch.zeros(vocab_size)
    for ids in captions:
        frequency[list(set(ids))] += 1
    idf = torch.where(frequency > 0, (len(captions) / frequency.clamp_min(1)).log(), 0.0)
    idf[list(suppressed)] = 0.0
    return idf


def word_targets(images: list[list[list[int]]], idf: Tensor) -> Tensor:
    """Each image's words, counted over its captions, weighted by idf, summing to one; (N, V)."""
    targets = torch.zeros(len(images), len(idf))
    for row, captions in zip(targets, images, strict=True):
        for ids in captions:
            row[list(set(ids))] += 1
    targets *= idf
    return targets / targets.sum(dim=1, keepdim=True).clamp_min(1e-9)
