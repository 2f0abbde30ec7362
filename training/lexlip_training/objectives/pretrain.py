"""Phase 1, bottlenecked pre-training (LexLIP, section "Phase 1"; after LexMAE), and its dense counterpart.

loss = self       the text encoder restores its own masked text
     + i2t        the decoder restores the text from the image's bottleneck
     + t2t        the decoder restores the text from the masked text's bottleneck
     + contrast   images and texts of the global batch
     + flops_weight * flops

A masked text is to be restored from what little is left of it and one vector that stands for the whole image or text.
"""

from __future__ import annotations

from abc import abstractmethod
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import BertModel
from transformers.models.bert.modeling_bert import BertLayer

from lexlip_kernels.errors import InputError
from lexlip_kernels.lexicon_pool import max_logits, saturate
from lexlip_training.data.batch import MaskedText, PairBatch
from lexlip_training.model import DenseModel, LexiconHead, LexLIP
from lexlip_training.objectives.config import ObjectiveConfig
from lexlip_training.objectives.objective import (
    Objective,
    at_least_float32,
    full_precision,
    gather,
    gather_constant,
    masked_tokens,
    pair_contrast,
    text_vectors,
    unit_vectors,
)


def lexicon_bottleneck(logits: Tensor, word_embeddings: Tensor) -> Tensor:
    """The mean word embedding (B, H) under the term distribution that max-pooled logits (B, V) stand for.

    No gradient reaches the embeddings (V, H) from here: they would learn to make the task easy.
    """
    embeddings = word_embeddings.detach()
    return at_least_float32(logits).softmax(dim=1).to(embeddings.dtype) @ embeddings


class BottleneckDecoder(nn.Module):
    """A few BERT layers of their own, on the text tower's embeddings.

    Args:
        bert: the text tower's; gives the shape of the layers.
        layers: how many; few, so that the bottleneck has to carry the meaning.
    """

    def __init__(self, bert: BertModel, layers: int) -> None:
        super().__init__()
        config = deepcopy(bert.config)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(layers))  # type: ignore[no-untyped-call]
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, bert: BertModel, input_ids: Tensor, attention_mask: Tensor, bottleneck: Tensor | None) -> Tensor:
        """Tokens (B, L, H) of a masked text (B, L).

        Args:
            bert: whose embeddings, positions and norm included, the text goes through.
            input_ids: (B, L), masked.
            attention_mask: (B, L), 1 on real tokens.
            bottleneck: (B, H), takes the place of the first token as it is; None leaves that token.
        """
        hidden: Tensor = bert.embeddings(input_ids=input_ids)
        if bottleneck is not None:
            hidden = torch.cat([bottleneck.to(hidden.dtype).unsqueeze(1), hidden[:, 1:]], dim=1)
        padding = (attention_mask == 0)[:, None, None, :]
        mask = torch.zeros_like(padding, dtype=hidden.dtype).masked_fill(padding, torch.finfo(hidden.dtype).min)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden


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


class PretrainLexicon(Pretrain):
    """Lexicon-bottlenecked pre-training of LexLIP; the text head restores masked tokens.

    Args:
        config: of kind "pretrain_lexicon".
        model: with both towers.
    """

    model: LexLIP

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
