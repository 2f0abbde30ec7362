"""What a model is made of, as validated settings, and the presets.

`lexlip-base` has the shapes of the paper (BEiT-B/16, BERT-base, untied decoders); `lexlip-tiny` is the model that one
CPU can train and that ships with the package; `lexlip-tiny-plain` is that without what the paper's objectives cannot
train: tokens of classes and query weights. Unknown keys are errors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lexlip_infer.manifest import MOST_PIXELS, MOST_TERMS, MOST_TOKENS
from lexlip_kernels.errors import InputError

#: Layers of a tower, and any other size; what is larger is damage or mischief.
MOST_LAYERS, LARGEST = 512, 1 << 20

#: Options of timm that would read or write other files, or fetch weights.
_OUTSIDE = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


class Settings(BaseModel):
    """What all settings have in common: they do not change, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageTowerConfig(Settings):
    """An image backbone and what turns its tokens into hidden states of the common width.

    Attributes:
        backbone: name of any timm model that yields tokens or a feature map.
        backbone_options: further arguments of `timm.create_model`, for example `pad_type`.
        image_size: pixels, height and width of the input.
        resize: "squash" ignores the aspect ratio; "center_crop" resizes the short side, then crops.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, divides the pixels after the subtraction.
        adapter_layers: pre-norm transformer layers on top of the backbone's tokens; 0 takes the tokens as they are.
        adapter_heads: attention heads of those layers.
        classes: C, of the backbone's own classifier; 0 drops it.
        class_tokens: that many of the likeliest classes become tokens beside those of the picture, so that the head
            says what the classifier knows.
        training_tokens: tokens kept, at random, in a training step; None keeps all. Regularises and saves time.
            Tokens of classes are always kept.
        layer_norm_eps: forced on every LayerNorm of the backbone (timm's default differs from the official 1e-12).
        freeze_batch_norm: keep batch normalisation in evaluation mode throughout.
    """

    backbone: str
    backbone_options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    image_size: int = Field(gt=0, le=MOST_PIXELS)
    resize: Literal["squash", "center_crop"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    adapter_layers: int = Field(default=0, ge=0, le=MOST_LAYERS)
    adapter_heads: int = Field(default=4, gt=0, le=LARGEST)
    classes: int = Field(default=0, ge=0, le=LARGEST)
    class_tokens: int = Field(default=0, ge=0, le=LARGEST)
    training_tokens: int | None = Field(default=None, gt=0, le=LARGEST)
    layer_norm_eps: float | None = Field(default=None, ge=0)
    freeze_batch_norm: bool = False

    @field_validator("backbone_options")
    @classmethod
    def _are_of_the_shape(cls, options: dict[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
        for name, value in options.items():
            most = MOST_LAYERS if name == "depth" else LARGEST
            if name in _OUTSIDE:
                raise ValueError(f"{name} would load other weights; leave it out")
            if not isinstance(value, str) and not abs(value) <= most:
                raise ValueError(f"{name} is {value}; expected at most {most}")
        return options

    @model_validator(mode="after")
    def _tokens_of_known_classes(self) -> ImageTowerConfig:
        if self.class_tokens > self.classes:
            raise ValueError(f"{self.class_tokens} class tokens of {self.classes} classes; expected at most that many")
        if self.class_tokens and not self.adapter_layers:
            raise ValueError("class_tokens without an adapter; set adapter_layers to at least 1")
        return self


class TextTowerConfig(Settings):
    """A BERT encoder.

    Attributes:
        layers: transformer layers.
        heads: attention heads.
        intermediate_size: width of the feed-forward layers.
        max_positions: length of the position table, in tokens.
        max_length: captions are cut to this many tokens, [CLS] and [SEP] included.
        dropout: of hidden states and attention.
        lookup: learn a weight for each term that stands in a query, for queries without a text tower.
        term_bonus: add a learned, per-term bonus to the logit of every term that stands in the input.
    """

    layers: int = Field(gt=0, le=MOST_LAYERS)
    heads: int = Field(gt=0, le=LARGEST)
    intermediate_size: int = Field(gt=0, le=LARGEST)
    max_positions: int = Field(default=512, gt=0, le=LARGEST)
    max_length: int = Field(default=40, gt=2, le=MOST_TOKENS)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    lookup: bool = False
    term_bonus: bool = False


class ModelConfig(Settings):
    """An encoder into one vocabulary, of images, of texts, or of both.

    Attributes:
        name: the preset's name, carried into manifest and model card.
        vocab_size: V, terms of the tokenizer.
        hidden_size: H, width of text tower and lexicon heads.
        image: the image tower; None makes an encoder of texts alone.
        text: the text tower; None makes an encoder of images alone.
        tie_decoders: both decoders are the text tower's word embeddings, instead of a matrix each.
        suppressed_ids: terms that never get a weight (special tokens, function words).
        layer_norm_eps: of the text tower, the heads and the final image norm.
    """

    name: str
    vocab_size: int = Field(gt=0, le=MOST_TERMS)
    hidden_size: int = Field(gt=0, le=LARGEST)
    image: ImageTowerConfig | None
    text: TextTowerConfig | None
    tie_decoders: bool = False
    suppressed_ids: tuple[Annotated[int, Field(ge=0)], ...] = ()
    layer_norm_eps: float = Field(default=1e-12, ge=0)

    @model_validator(mode="after")
    def _has_a_tower(self) -> ModelConfig:
        if self.image is None and self.text is None:
            raise ValueError("neither an image nor a text tower; expected at least one of them")
        if self.tie_decoders and self.text is None:
            raise ValueError("tie_decoders without a text tower; there are no word embeddings to decode with")
        return self

    @property
    def modalities(self) -> tuple[Literal["image", "text"], ...]:
        """The towers that the model has."""
        towers: tuple[Literal["image", "text"], ...] = ("image", "text")
        return tuple(tower for tower in towers if getattr(self, tower) is not None)


def _lexlip_base() -> ModelConfig:
    image = ImageTowerConfig(
        backbone="beit_base_patch16_224",
        backbone_options={"drop_path_rate": 0.1},
        image_size=224,
        resize="center_crop",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        layer_norm_eps=1e-12,
    )
    text = TextTowerConfig(layers=12, heads=12, intermediate_size=3072)
    return ModelConfig(name="lexlip-base", vocab_size=30522, hidden_size=768, image=image, text=text)


def _lexlip_tiny() -> ModelConfig:
    image = ImageTowerConfig(
        backbone="tf_efficientnet_lite2",
        backbone_options={"bn_eps": 1e-3},
        image_size=224,
        resize="squash",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        adapter_layers=2,
        classes=1000,
        class_tokens=5,
        training_tokens=24,
        freeze_batch_norm=True,
    )
    text = TextTowerConfig(layers=2, heads=4, intermediate_size=1024, max_positions=64, lookup=True, term_bonus=True)
    return ModelConfig(
        name="lexlip-tiny", vocab_size=12_000, hidden_size=256, image=image, text=text, tie_decoders=True
    )


def _lexlip_tiny_plain() -> ModelConfig:
    tiny = _lexlip_tiny()
    assert tiny.image is not None
    assert tiny.text is not None
    image = tiny.image.model_copy(update={"classes": 0, "class_tokens": 0})
    text = tiny.text.model_copy(update={"lookup": False})
    return tiny.model_copy(update={"name": "lexlip-tiny-plain", "vocab_size": 4096, "image": image, "text": text})


_PRESETS = {"lexlip-base": _lexlip_base, "lexlip-tiny": _lexlip_tiny, "lexlip-tiny-plain": _lexlip_tiny_plain}


def preset(name: str) -> ModelConfig:
    """The configuration of a preset, `lexlip-base`, `lexlip-tiny` or `lexlip-tiny-plain`.

    Raises:
        InputError: there is no preset of that name.
    """
    if name not in _PRESETS:
        raise InputError(f"no preset is called {name!r}; there are {', '.join(sorted(_PRESETS))}")
    return _PRESETS[name]()
