"""Phase 1 with the lexicon as its bottleneck, as the paper has it."""

from __future__ import annotations

from torch import Tensor

from lexlip_kernels.lexicon_pool import max_logits, saturate
from lexlip_training.lexicon_head import LexiconHead
from lexlip_training.model import LexLIP
from lexlip_training.objectives.bottleneck import lexicon_bottleneck
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.pretrain import Encoded, Pretrain
from lexlip_training.objectives.vectors import full_precision

__all__ = ["PretrainLexicon"]


class PretrainLexicon(Pretrain):
    """Lexicon-bottlenecked pre-training of LexLIP; the text head restores masked tokens.

    Args:
        config: of kind "pretrain_lexicon".
        model: with both towers.
    """

    model: LexLIP

    def __init__(self, config: ObjectiveConfig, model: LexLIP) -> None:
        super().__init__(config, model)

    def prediction_head(self) -> LexiconHead:
        """The text tower's lexicon head."""
        return self.model.text_head

    def encode_images(self, pixels: Tensor) -> Encoded:
        """Term weights (B, V), and the bottleneck of the same logits before saturation."""
        logits = self.model.image_logits(self.model.image_tower.backbone_tokens(pixels))
        return Encoded(saturate(logits), self._bottleneck(logits))

    def encode_masked(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Hidden states (B, L, H) and the bottleneck of their logits."""
        head = self.model.text_head
        hidden = self.model.text_hidden(input_ids, attention_mask)
        return Encoded(hidden, self._bottleneck(max_logits(hidden, head.weight, head.decoder_bias(), attention_mask)))

    def _bottleneck(self, logits: Tensor) -> Tensor:
        with full_precision(logits):
            return lexicon_bottleneck(logits, self.model.text_tower.word_embeddings)
