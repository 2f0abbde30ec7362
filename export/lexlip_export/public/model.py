"""What the importers make: towers of another architecture below heads of ours, exported like any other model.

A head here is a decoder and its bias; whatever stands before it belongs to the tower.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from timm.layers import QuickGELU
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer
from torch import Tensor, nn

from lexlip_export.head_fields import HeadFields
from lexlip_infer.bundle import TextSettings
from lexlip_training.config import ImageTowerConfig, ModelConfig
from lexlip_training.model import SUPPRESSED_BIAS, LexLIP
from lexlip_training.towers import TextTower

#: Mean and standard deviation of CLIP's pixels, which BLIP, ALBEF and VDR share.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
#: Width of an attention head in every BERT and vision transformer here; no tensor tells it.
HEAD_WIDTH = 64


class PublicFolder(NamedTuple):
    """A public model that has been read; see `sources.Source`.

    Attributes:
        model: in evaluation mode.
        tokenizer: of its texts.
        record: JSON-serialisable, of where the weights come from.
        text: how texts are encoded.
        settings: of the export, where the model has values of its own.
        heads: what they compute beyond LexLIP's.
    """

    model: LexLIP
    tokenizer: Tokenizer
    record: dict[str, Any]
    text: TextSettings
    settings: dict[str, Any]
    heads: HeadFields = HeadFields()


class PlainHead(nn.Module):
    """A decoder (V, H) and its bias (V,).

    Args:
        config: of the model, for sizes and suppressed terms.
    """

    suppressed: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.vocab_size, config.hidden_size))
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        suppressed = torch.zeros(config.vocab_size, dtype=torch.bool)
        suppressed[list(config.suppressed_ids)] = True
        self.register_buffer("suppressed", suppressed, persistent=False)

    def decoder_bias(self) -> Tensor:
        """The bias (V,) as the engine uses it, suppressed terms included."""
        return self.bias.masked_fill(self.suppressed, SUPPRESSED_BIAS)


class PublicModel(LexLIP):
    """What an export needs of a model: `config`, hidden states and heads; no part of it can be trained here.

    Args:
        config: shapes; `image.backbone_options` are those of timm's vision transformer.
        token_count: rows of the table of input embeddings.
    """

    def __init__(self, config: ModelConfig, token_count: int) -> None:
        nn.Module.__init__(self)  # nothing of LexLIP's towers and heads is here
        assert config.image is not None
        assert config.text is not None
        self.config = config
        self.image_tower = vision_transformer(config.image)
        self.text_tower = TextTower(config.text, token_count, config.hidden_size, config.layer_norm_eps)
        for modality in config.modalities:
            setattr(self, f"{modality}_head", PlainHead(config))


def vision_transformer(config: ImageTowerConfig) -> VisionTransformer:
    """timm's, which gives tokens (B, L, C) after its last norm."""
    options: dict[str, Any] = dict(config.backbone_options)
    if options.pop("quick_gelu", False):
        options["act_layer"] = QuickGELU
    eps = config.layer_norm_eps
    assert eps is not None
    return VisionTransformer(
        img_size=config.image_size,
        num_classes=0,
        global_pool="",
        norm_layer=partial(nn.LayerNorm, eps=eps),
        **options,
    )
