"""What a training step reads: pairs of an image and a text and, for the masked objectives, two maskings of the text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["IGNORED", "MaskedText", "PairBatch"]

#: Label of a position that is not predicted, as torch's cross entropy expects it.
IGNORED = -100


@dataclass(frozen=True, slots=True)
class MaskedText:
    """A text with some tokens hidden.

    Attributes:
        input_ids: (B, L), masked.
        labels: (B, L), the hidden token, `IGNORED` elsewhere.
    """

    input_ids: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> MaskedText:
        """The same on another device."""
        return MaskedText(self.input_ids.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B pairs.

    Attributes:
        pixels: (B, 3, S, S), augmented and normalised.
        input_ids: (B, L), padded with 0.
        attention_mask: (B, L), 1 on real tokens.
        image_ids: (B,), int64; equal where two pairs show the same image (they are no negatives of each other).
        sample_ids: (B,), int64, rows of the training set.
        encoder_masked: for self-supervised and bottleneck objectives, the lighter masking; None where unused.
        decoder_masked: for the bottleneck decoder, the heavier masking; None where unused.
    """

    pixels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    image_ids: Tensor
    sample_ids: Tensor
    encoder_masked: MaskedText | None = None
    decoder_masked: MaskedText | None = None

    def to(self, device: torch.device) -> PairBatch:
        """The same on another device."""
        return PairBatch(
            self.pixels.to(device),
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.image_ids.to(device),
            self.sample_ids.to(device),
            None if self.encoder_masked is None else self.encoder_masked.to(device),
            None if self.decoder_masked is None else self.decoder_masked.to(device),
        )
