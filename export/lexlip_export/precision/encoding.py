"""Both sides of the parity gate encode here: a batch to hidden states and pooled logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lexlip_export.backbone_graph import backbone_module
from lexlip_infer.bundle import Modality
from lexlip_kernels.lexicon_pool import max_logits
from lexlip_training.model import LexLIP

__all__ = ["Encoding", "encode", "pool_hidden"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """One batch, encoded.

    Attributes:
        hidden: (B, L, H) float32.
        pooled: (B, V) float32, the largest logit of each term, bias included, before saturation.
    """

    hidden: Tensor
    pooled: Tensor


@torch.no_grad()
def encode(model: LexLIP, modality: Modality, inputs: dict[str, Tensor]) -> Encoding:
    """Encode with torch, in the precision of the model's weights."""
    return pool_hidden(model, modality, backbone_module(model, modality)(**inputs), inputs)


@torch.no_grad()
def pool_hidden(model: LexLIP, modality: Modality, hidden: Tensor, inputs: dict[str, Tensor]) -> Encoding:
    """Apply the decoder to hidden states (B, L, H) of the decoder's element type."""
    head = getattr(model, f"{modality}_head")
    mask = inputs.get("attention_mask")
    pooled = max_logits(hidden, head.weight, head.decoder_bias(), mask, backend="reference")
    return Encoding(hidden.float(), pooled.float())
