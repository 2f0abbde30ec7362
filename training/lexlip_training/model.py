"""LexLIP: two towers, two lexicon heads, one vocabulary, or one of the towers with its head alone; the dense baseline.

A head is BERT's masked-language-model head, split where the engine splits it: `transform` (dense, GELU, LayerNorm)
belongs to the exported backbone, the decoder (V, H) and its bias to the fused kernels (`lexlip_kernels.lexicon_pool`).
The heads start alike in shape but share nothing, unless both decoders are tied to the word embeddings
(`ModelConfig.tie_decoders`). Hidden states are what the exported backbones emit; weights are what the engine computes
from them:

    weights[v] = log1p(relu(max over tokens of hidden . W[v] + b[v]))

The optional term bonus lives in the text tower's hidden states, never behind the head: each token's hidden state
gets `bonus[t] * W[t] / |W[t]|^2`, which raises the logit of its own term t by exactly bonus[t] (and of similar terms
in proportion), so that every plain head sees it.

Of the dense baseline the supplementary says "CLS vectors" and no more. So there is no projection, and an image backbone
without a CLS token (a convolutional one, or an adapter that drops tokens at random) gives the mean of its tokens.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lexlip_kernels.errors import InputError
from lexlip_kernels.lexicon_pool import lexicon_pool, max_logits
from lexlip_training.config import ModelConfig, Settings
from lexlip_training.towers import ImageTower, TextTower

#: Bias of a suppressed term: far below any logit, yet finite in half precision.
SUPPRESSED_BIAS = -1e4


class LexiconHead(nn.Module):
    """Transform and decoder of one modality.

    Args:
        hidden_size: H.
        vocab_size: V.
        layer_norm_eps: of the transform's LayerNorm.
        suppressed_ids: terms whose bias is held at `SUPPRESSED_BIAS`.
        tied_weight: (V, H) parameter to decode with, instead of an own one.
    """

    suppressed: Tensor

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        layer_norm_eps: float,
        suppressed_ids: tuple[int, ...] = (),
        tied_weight: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.weight = nn.Parameter(torch.empty(vocab_size, hidden_size)) if tied_weight is None else tied_weight
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        suppressed = torch.zeros(vocab_size, dtype=torch.bool)
        suppressed[list(suppressed_ids)] = True
        self.register_buffer("suppressed", suppressed, persistent=False)
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)
        if tied_weight is None:
            nn.init.normal_(self.weight, std=0.02)

    def transform(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L, H) to hidden states (B, L, H), ready for the decoder."""
        hidden: Tensor = self.norm(nn.functional.gelu(self.dense(tokens)))
        return hidden

    def decoder_bias(self) -> Tensor:
        """The bias (V,) as the engine uses it, suppressed terms included."""
        return self.bias.masked_fill(self.suppressed, SUPPRESSED_BIAS)


class LexLIP(nn.Module):
    """The dual encoder. A tower that the configuration leaves out has no attributes here.

    Args:
        config: shapes and options; weights are random until a checkpoint is loaded.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        if config.image is not None:
            self.image_tower = ImageTower(config.image, config.hidden_size, config.layer_norm_eps)
        if config.text is not None:
            self.text_tower = TextTower(config.text, config.vocab_size, config.hidden_size, config.layer_norm_eps)
        if config.image is not None:
            self.image_head = self._head()
        if config.text is not None:
            self.text_head = self._head()
            if config.text.lookup:
                self.query_weight = nn.Parameter(torch.zeros(config.vocab_size))
            if config.text.term_bonus:
                self.term_bonus = nn.Parameter(torch.ones(config.vocab_size))

    @property
    def towers(self) -> ModelConfig:
        """The configuration of the towers, which a dense model has as well."""
        return self.config

    def _head(self) -> LexiconHead:
        config = self.config
        tied = self.text_tower.word_embeddings if config.tie_decoders else None
        return LexiconHead(config.hidden_size, config.vocab_size, config.layer_norm_eps, config.suppressed_ids, tied)

    def image_hidden(self, pixels: Tensor) -> Tensor:
        """Hidden states (B, L, H) of normalised pixels (B, 3, S, S)."""
        return self.image_head.transform(self.image_tower(self.image_tower.backbone_tokens(pixels)))

    def text_hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states (B, L, H) of token ids (B, L), term bonus included."""
        hidden = self.text_head.transform(self.text_tower(input_ids, attention_mask))
        if not hasattr(self, "term_bonus"):
            return hidden
        # In float32 in a half model too: squares of large rows overflow, those of small ones vanish.
        rows = nn.functional.embedding(input_ids, self.text_head.weight).float()
        bonus = self.term_bonus.masked_fill(self.text_head.suppressed, 0.0)
        scale = bonus[input_ids] / rows.square().sum(-1).clamp_min(1e-6)
        return hidden + scale.unsqueeze(-1) * rows

    def image_logits(self, backbone_tokens: Tensor, posterior: Tensor | None = None) -> Tensor:
        """Max-pooled logits (B, V), before saturation, of backbone tokens (B, L, C).

        Args:
            backbone_tokens: see `ImageTower.backbone_tokens`.
            posterior: (B, classes) probabilities instead of the classifier's own.
        """
        hidden = self.image_head.transform(self.image_tower(backbone_tokens, posterior))
        return self.pooled(hidden, self.image_head)

    @staticmethod
    def pooled(hidden: Tensor, head: LexiconHead, mask: Tensor | None = None) -> Tensor:
        """Max-pooled logits (B, V), before saturation, of a head's hidden states (B, L, H)."""
        return max_logits(hidden, head.weight, head.decoder_bias(), mask)

    def text_logits(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Max-pooled logits (B, V), before saturation, of token ids (B, L)."""
        return self.pooled(self.text_hidden(input_ids, attention_mask), self.text_head, attention_mask)

    def lookup_weights(self) -> Tensor:
        """What each term weighs (V,) in a query that no text tower sees; suppressed terms 0."""
        return nn.functional.softplus(self.query_weight).masked_fill(self.text_head.suppressed, 0.0)

    def image_weights(self, pixels: Tensor) -> Tensor:
        """Term weights (B, V) of images."""
        return lexicon_pool(self.image_hidden(pixels), self.image_head.weight, self.image_head.decoder_bias())

    def text_weights(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Term weights (B, V) of texts; padding takes no part, [CLS] and [SEP] do."""
        hidden = self.text_hidden(input_ids, attention_mask)
        return lexicon_pool(hidden, self.text_head.weight, self.text_head.decoder_bias(), attention_mask)


class DenseConfig(Settings):
    """A dense dual encoder.

    Attributes:
        towers: both towers; what belongs to lexicon heads in it is not read.
        image_pooling: how the image tower's tokens become one vector; "auto" takes the CLS token where there is one.
        representation: tells a checkpoint of this kind from one of a lexicon model.
    """

    towers: ModelConfig
    image_pooling: Literal["auto", "cls", "mean"] = "auto"
    representation: Literal["dense"] = "dense"


class DenseModel(nn.Module):
    """The dual encoder of dense vectors; D is the towers' hidden size.

    Args:
        config: shapes; `self.config` holds it with `image_pooling` resolved. Weights are random until loaded.

    Raises:
        InputError: a tower is missing, or a CLS token is asked for and the image tower has none.
    """

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        towers = config.towers
        if towers.image is None or towers.text is None:
            raise InputError(f"{towers.name} has {towers.modalities[0]}s only; a dense model needs both towers")
        self.image_tower = ImageTower(towers.image, towers.hidden_size, towers.layer_norm_eps)
        self.text_tower = TextTower(towers.text, towers.vocab_size, towers.hidden_size, towers.layer_norm_eps)
        self.config = config.model_copy(update={"image_pooling": self._pooling(config)})

    def _pooling(self, config: DenseConfig) -> Literal["cls", "mean"]:
        tower = self.image_tower
        drops_tokens = tower.config.adapter_layers > 0 and tower.config.training_tokens is not None
        has_cls = getattr(tower.backbone, "cls_token", None) is not None and not drops_tokens
        if config.image_pooling == "cls" and not has_cls:
            raise InputError(f"image_pooling 'cls': {tower.config.backbone} keeps no CLS token; use 'mean' or 'auto'")
        return "mean" if config.image_pooling == "mean" or not has_cls else "cls"

    @property
    def towers(self) -> ModelConfig:
        """The configuration of the towers, which LexLIP has as well."""
        return self.config.towers

    def pooled_images(self, pixels: Tensor) -> Tensor:
        """(B, D) of normalised pixels (B, 3, S, S), before the division by the length."""
        tokens = self.image_tower(self.image_tower.backbone_tokens(pixels))
        pooled: Tensor = tokens[:, 0] if self.config.image_pooling == "cls" else tokens.mean(dim=1)
        return pooled

    def image_vectors(self, pixels: Tensor) -> Tensor:
        """Unit vectors (B, D) of images."""
        return normalize(self.pooled_images(pixels), dim=1)

    def text_vectors(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors (B, D) of texts: the [CLS] token of token ids (B, L)."""
        tokens: Tensor = self.text_tower(input_ids, attention_mask)
        return normalize(tokens[:, 0], dim=1)
