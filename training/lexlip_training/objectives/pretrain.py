"""Phase 1, bottlenecked pre-training (LexLIP, section "Phase 1"), apart from what a bottleneck is made of.

loss = self       the text encoder restores its own masked text
     + i2t        the decoder restores the text from the image's bottleneck
     + t2t        the decoder restores the text from the masked text's bottleneck
     + contrast   images and texts of the global batch
     + flops_weight * flops
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from lexlip_kernels.errors import InputError
from lexlip_training.dense_model import DenseModel
from lexlip_training.lexicon_head import LexiconHead
from lexlip_training.model import LexLIP
from lexlip_training.objectives.bottleneck import BottleneckDecoder
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.losses import masked_tokens, pair_contrast
from lexlip_training.objectives.objective import Objective
from lexlip_training.objectives.ranks import gather, gather_constant
from lexlip_training.objectives.vectors import full_precision, text_vectors, unit_vectors
from lexlip_training.pair_batch import MaskedText, PairBatch

__all__ = ["Encoded", "Pretrain"]


class Encoded(NamedTuple):
    """Vectors (B, V) or hidden states (B, L, H) of a pass, and its bottleneck (B, H)."""

    output: Tensor
    bottleneck: Tensor


class Pretrain(Objective):
    """Pre-training with a bottleneck; subclasses say how vectors and bottlenecks come about.

    Args:
        config: of kind "pretrain_lexicon" or "pretrain_dense".
        model: with both towers.
    """

    def __init__(self, config: ObjectiveConfig, model: LexLIP | DenseModel) -> None:
        super().__init__(config, model)
        self.uses_masks = (config.encoder_mask, config.decoder_mask)
        self.decoder: BottleneckDecoder | None = None
        if not config.decoder_disabled:
            self.decoder = BottleneckDecoder(model.text_tower.bert, config.decoder_layers)

    @abstractmethod
    def prediction_head(self) -> LexiconHead:
        """The head that names masked tokens, of encoder and decoder alike."""

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Encoded:
        """Vectors and bottleneck of pixels (B, 3, S, S)."""

    @abstractmethod
    def encode_masked(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Hidden states, ready for the head's decoder, and bottleneck of a masked text (B, L)."""

    def forward(self, batch: PairBatch) -> dict[str, Tensor]:
        """The loss and its figures; see `Objective`.

        Raises:
            InputError: the batch lacks a masking.
        """
        if batch.encoder_masked is None or batch.decoder_masked is None:
            raise InputError(f"objective {self.config.kind!r} got a batch without maskings; open the pairs with masks")
        images = self.encode_images(batch.pixels)
        texts = text_vectors(self.model, batch.input_ids, batch.attention_mask)
        masked = self.encode_masked(batch.encoder_masked.input_ids, batch.attention_mask)
        parts = {"self": self._restored(masked.output, batch.encoder_masked.labels)}
        if self.decoder is not None:
            for name, bottleneck in (("i2t", images.bottleneck), ("t2t", masked.bottleneck)):
                hidden = self._decoded(self.decoder, batch.decoder_masked, batch.attention_mask, bottleneck)
                parts[name] = self._restored(hidden, batch.decoder_masked.labels)
        return self._with_contrast(parts, images.output, texts, batch.image_ids)

    def _decoded(
        self, decoder: BottleneckDecoder, masked: MaskedText, attention_mask: Tensor, bottleneck: Tensor
    ) -> Tensor:
        given = None if self.config.bottleneck_disabled else bottleneck
        tokens = decoder(self.model.text_tower.bert, masked.input_ids, attention_mask, given)
        return self.prediction_head().transform(tokens)

    def _restored(self, hidden: Tensor, labels: Tensor) -> Tensor:
        head = self.prediction_head()
        # The plain bias: terms that an index must not hold are still words of the text.
        return masked_tokens(hidden, labels, head.weight, head.bias, self.config.counts)

    def _with_contrast(
        self, parts: dict[str, Tensor], images: Tensor, texts: Tensor, image_ids: Tensor
    ) -> dict[str, Tensor]:
        config = self.config
        with full_precision(images):
            unit_images, unit_texts = unit_vectors(images, config.joint_top_k), unit_vectors(texts, config.joint_top_k)
            rows = gather_constant(image_ids)
            same = None if config.same_image_negatives else rows[:, None] == rows[None, :]
            true_gradient = config.gather == "true"
            everyone = (gather(unit_images, true_gradient), gather(unit_texts, true_gradient))
            parts["contrast"] = pair_contrast(*everyone, config.temperature, same)
            parts["flops"] = self.flops(images, texts)
            return self.figures(parts, unit_images, unit_texts)
