"""The two towers: any timm backbone that yields tokens, with an adapter to the width of the head, and BERT.

Transformers give (B, L, C) as they are; a convolutional feature map (B, C, h, w) or (B, h, w, C) is flattened to
h*w tokens. Nothing is pooled: the lexicon head takes the maximum over tokens itself (LexLIP, image encoder).
"""

from __future__ import annotations

import timm
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from lexlip_kernels.errors import InputError
from lexlip_training.config import ImageTowerConfig, TextTowerConfig

#: Of an RGB image.
_CHANNELS = 3


class ImageTower(nn.Module):
    """A timm backbone and its adapter, in two steps: `backbone_tokens`, then `forward`.

    Args:
        config: backbone and adapter.
        hidden_size: H.
        layer_norm_eps: of the final norm, which LexLIP adds on all tokens.

    Raises:
        InputError: timm has no such backbone, or its width is not H and no adapter is configured.
    """

    def __init__(self, config: ImageTowerConfig, hidden_size: int, layer_norm_eps: float) -> None:
        super().__init__()
        if not timm.is_model(config.backbone):
            raise InputError(f"timm has no model called {config.backbone!r}; see timm.list_models()")
        self.config = config
        options = config.backbone_options
        self.backbone = timm.create_model(config.backbone, pretrained=False, num_classes=config.classes, **options)
        # forward_features stops before these; unused parameters would ship untrained.
        self.backbone.fc_norm = nn.Identity()
        if config.layer_norm_eps is not None:
            for module in self.backbone.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eps = config.layer_norm_eps
        width, length = self._token_shape()
        if config.adapter_layers == 0:
            if width != hidden_size:
                raise InputError(
                    f"{config.backbone} yields tokens of width {width}, the model expects {hidden_size}; "
                    "set adapter_layers to at least 1"
                )
            self.adapter: nn.Module = nn.Identity()
        else:
            self.adapter = _Adapter(config, width, length, hidden_size)
        if config.class_tokens:
            if not isinstance(getattr(self.backbone, "classifier", None), nn.Linear):
                raise InputError(f"{config.backbone} has no classifier of convolutional features; set class_tokens = 0")
            self.class_tokens = _ClassTokens(config.classes, config.class_tokens, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.stem_stages = 0
        self.train(self.training)

    def forward(self, backbone_tokens: Tensor, posterior: Tensor | None = None) -> Tensor:
        """Backbone tokens (B, L, C) to tokens (B, L', H), after the final norm; L' counts tokens of classes, too.

        Args:
            backbone_tokens: of the pictures.
            posterior: probabilities of the classes, instead of the classifier's own.
        """
        if not self.config.class_tokens:
            plain: Tensor = self.norm(self.adapter(backbone_tokens))
            return plain
        if posterior is None:
            posterior = self.class_logits(backbone_tokens).softmax(dim=1)
        return self.tokens_of_classes(backbone_tokens, posterior)

    def tokens_of_classes(self, backbone_tokens: Tensor, posterior: Tensor, patches: int | None = None) -> Tensor:
        """Tokens (B, patches + class_tokens, H) of a verdict on classes beside patches of a picture.

        Args:
            backbone_tokens: (B, L, C).
            posterior: (B, classes) probabilities.
            patches: how many stay, at random; None as in `forward`.
        """
        tokens: Tensor = self.norm(self.adapter(backbone_tokens, self.class_tokens(posterior), patches))
        return tokens

    def class_logits(self, backbone_tokens: Tensor) -> Tensor:
        """What the backbone's classifier makes of its tokens: (B, classes)."""
        logits: Tensor = self.backbone.classifier(backbone_tokens.mean(dim=1))
        return logits

    def backbone_tokens(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, S, S), normalised as the configuration says, to tokens (B, L, C) of the bare backbone.

        In training with a frozen stem (`split`) also of what the stem made of them, (B, c, h, w).
        """
        beyond = self.stem_stages > 0 and pixels.shape[1] != _CHANNELS
        features: Tensor = self._above_stem(pixels) if beyond else self.backbone.forward_features(pixels)
        if features.ndim == 3:
            return features
        width = self.backbone.num_features
        if features.shape[1] != width and features.shape[-1] == width:
            return features.flatten(1, 2)
        return features.flatten(2).transpose(1, 2)

    def split(self, stages: int) -> None:
        """Let `stem` be the first stages of the backbone, and `backbone_tokens` take its output, too.

        Raises:
            InputError: the backbone is not of timm's EfficientNet family, which MobileNetV2 belongs to, or is shorter.
        """
        backbone = self.backbone
        if not all(hasattr(backbone, name) for name in ("conv_stem", "bn1", "blocks", "conv_head", "bn2")):
            raise InputError(f"{self.config.backbone} has no stages to freeze; leave out model.frozen_stages")
        if stages > len(backbone.blocks):
            raise InputError(f"{stages} frozen stages; {self.config.backbone} has {len(backbone.blocks)}")
        self.stem_stages = stages

    def stem(self) -> nn.Sequential:
        """The lower half, after `split`."""
        return nn.Sequential(self.backbone.conv_stem, self.backbone.bn1, *self.backbone.blocks[: self.stem_stages])

    def freeze_stem(self, frozen: bool) -> None:
        """Stop, or let through, gradients to the lower half."""
        self.stem().requires_grad_(not frozen)

    def _above_stem(self, features: Tensor) -> Tensor:
        for stage in self.backbone.blocks[self.stem_stages :]:
            features = stage(features)
        top: Tensor = self.backbone.bn2(self.backbone.conv_head(features))
        return top

    def train(self, mode: bool = True) -> ImageTower:
        """Switch training mode, leaving batch normalisation alone where the configuration freezes it."""
        super().train(mode)
        if self.config.freeze_batch_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  (torch's only common base)
                    module.eval()
        return self

    @torch.no_grad()
    def _token_shape(self) -> tuple[int, int]:
        training = self.backbone.training
        probe = torch.zeros(1, 3, self.config.image_size, self.config.image_size)
        tokens = self.backbone.eval().forward_features(probe)
        self.backbone.train(training)
        if tokens.ndim == 3:
            return tokens.shape[2], tokens.shape[1]
        width = self.backbone.num_features
        return width, tokens[0].numel() // width


class _Float32Convolution(nn.Conv2d):
    """A convolution that autocast does not reach; it gives back the type that it takes."""

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            convolved: Tensor = super().forward(features.float())
        return convolved.to(features.dtype)


def depthwise_in_float32(backbone: nn.Module) -> None:
    """Keep depthwise convolutions out of autocast.

    On a CPU, oneDNN takes twice as long for their weights' gradients in bfloat16 as in float32, so that they take two
    thirds of a step. Nothing of it is saved or exported.
    """
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            kind = type(module)  # timm has convolutions of its own, which pad as TensorFlow does
            module.__class__ = type(kind.__name__, (_Float32Convolution, kind), {})


class _Adapter(nn.Module):
    """Backbone tokens (B, L, C) to (B, L, H): projection, learned positions, pre-norm layers."""

    def __init__(self, config: ImageTowerConfig, width: int, length: int, hidden_size: int) -> None:
        super().__init__()
        self.training_tokens = config.training_tokens
        self.project = nn.Linear(width, hidden_size)
        self.position = nn.Parameter(torch.zeros(1, length, hidden_size))
        nn.init.normal_(self.position, std=0.02)
        layers = [Block(hidden_size, config.adapter_heads, qkv_bias=True) for _ in range(config.adapter_layers)]
        for layer in layers:
            layer.attn.fused_attn = False  # plain operators: exact in ONNX, and faster backward on a CPU
        self.layers = nn.ModuleList(layers)

    def forward(self, tokens: Tensor, further: Tensor | None = None, keep: int | None = None) -> Tensor:
        tokens = self.project(tokens) + self.position
        keep = self.training_tokens if keep is None and self.training else keep
        if keep is not None:
            tokens = _random_tokens(tokens, keep)
        if further is not None:
            tokens = torch.cat([tokens, further], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class _ClassTokens(nn.Module):
    """Probabilities (B, classes) to a token for each of the likeliest, (B, count, H): the likelier, the longer."""

    def __init__(self, classes: int, count: int, hidden_size: int) -> None:
        super().__init__()
        self.count = count
        self.embedding = nn.Parameter(torch.empty(classes, hidden_size))
        self.kind = nn.Parameter(torch.zeros(hidden_size))
        nn.init.normal_(self.embedding, std=0.5)

    def forward(self, posterior: Tensor) -> Tensor:
        likeliest, classes = posterior.float().topk(self.count, dim=1)
        strength = torch.log1p(10.0 * likeliest).unsqueeze(-1)
        return nn.functional.embedding(classes, self.embedding) * strength + self.kind


def _random_tokens(tokens: Tensor, keep: int) -> Tensor:
    """A random choice of tokens (B, keep, H), drawn for each row on its own."""
    batch, length, width = tokens.shape
    chosen = torch.rand(batch, length, device=tokens.device).argsort(dim=1)[:, :keep]
    return tokens.gather(1, chosen.unsqueeze(-1).expand(-1, -1, width))


class TextTower(nn.Module):
    """Token ids (B, L) and their mask to tokens (B, L, H).

    Args:
        config: layers and sizes.
        vocab_size: V.
        hidden_size: H.
        layer_norm_eps: of every LayerNorm.
    """

    def __init__(self, config: TextTowerConfig, vocab_size: int, hidden_size: int, layer_norm_eps: float) -> None:
        super().__init__()
        bert = BertConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=config.max_positions,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            layer_norm_eps=layer_norm_eps,
            pad_token_id=None,  # every row of the embedding table is trained and exported alike
        )
        bert._attn_implementation = "eager"  # noqa: SLF001  (transformers' only switch; plain operators, exact in ONNX)
        self.bert = BertModel(bert, add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens (B, L, H); padded positions hold values that nobody may read."""
        tokens: Tensor = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return tokens

    @property
    def word_embeddings(self) -> nn.Parameter:
        """The (V, H) table of input embeddings."""
        table = self.bert.embeddings.word_embeddings.weight
        assert isinstance(table, nn.Parameter)
        return table
