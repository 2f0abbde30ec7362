"""Phase 1 of the dense baseline: the decoder is fed the dense vector itself (supplementary, "Dense")."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lexlip_training.dense_model import DenseModel
from lexlip_training.lexicon_head import LexiconHead
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.pretrain import Encoded, Pretrain

__all__ = ["PretrainDense"]


class PretrainDense(Pretrain):
    """Pre-training of a dense model. The head that restores masked tokens belongs to the objective: nothing ships it.

    Args:
        config: of kind "pretrain_dense".
        model: its word embeddings are copied into that head's decoder, or tied to it where the towers tie decoders.
    """

    model: DenseModel

    def __init__(self, config: ObjectiveConfig, model: DenseModel) -> None:
        super().__init__(config, model)
        towers, table = model.config.towers, model.text_tower.word_embeddings
        tied = table if towers.tie_decoders else None
        self.head = LexiconHead(towers.hidden_size, towers.vocab_size, towers.layer_norm_eps, tied_weight=tied)
        if tied is None:
            with torch.no_grad():
                self.head.weight.copy_(table)

    def prediction_head(self) -> LexiconHead:
        """A masked-language-model head of its own."""
        return self.head

    def encode_images(self, pixels: Tensor) -> Encoded:
        """Unit vectors, and the same before the division by their length."""
        pooled = self.model.pooled_images(pixels)
        return Encoded(normalize(pooled, dim=1), pooled)

    def encode_masked(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Hidden states (B, L, H), and the [CLS] token."""
        tokens = self.model.text_tower(input_ids, attention_mask)
        return Encoded(self.head.transform(tokens), tokens[:, 0])
