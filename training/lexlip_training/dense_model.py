"""The dense baseline: LexLIP's two towers, one vector each instead of a lexicon.

The supplementary says "CLS vectors" and no more. So there is no projection, and an image backbone without a CLS token
(a convolutional one, or an adapter that drops tokens at random) gives the mean of its tokens. The choice is recorded.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.functional import normalize

from lexlip_kernels.errors import InputError
from lexlip_training.config import ModelConfig
from lexlip_training.towers import ImageTower, TextTower

__all__ = ["DenseConfig", "DenseModel"]


class DenseConfig(BaseModel):
    """A dense dual encoder.

    Attributes:
        towers: both towers; what belongs to lexicon heads in it is not read.
        image_pooling: how the image tower's tokens become one vector; "auto" takes the CLS token where there is one.
        representation: tells a checkpoint of this kind from one of a lexicon model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
