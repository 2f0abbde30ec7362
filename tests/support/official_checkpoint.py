"""Official-layout checkpoints of a few thousand random weights, made of plain tensors under the official names."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

HIDDEN, WIDE, HEADS, LAYERS, VOCAB, POSITIONS, QUEUE = 16, 24, 2, 2, 40, 48, 8

State = OrderedDict[str, Tensor]


class Generator:
    """Draws every tensor anew, so that a lost, swapped or doubled one shows."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.state: State = OrderedDict()

    def draw(self, name: str, *shape: int, scale: float = 0.3) -> None:
        self.state[name] = scale * torch.randn(shape, generator=self.random)

    def linear(self, name: str, rows: int, columns: int, bias: bool = True) -> None:
        self.draw(f"{name}.weight", rows, columns)
        if bias:
            self.draw(f"{name}.bias", rows)

    def norm(self, name: str) -> None:
        self.draw(f"{name}.weight", HIDDEN, scale=1.0)
        self.draw(f"{name}.bias", HIDDEN)

    def image(self, prefix: str, window: int) -> None:
        beit = f"{prefix}image_transformer.beit"
        self.draw(f"{beit}.embeddings.cls_token", 1, 1, HIDDEN)
        self.draw(f"{beit}.embeddings.patch_embeddings.projection.weight", HIDDEN, 3, 16, 16, scale=0.05)
        self.draw(f"{beit}.embeddings.patch_embeddings.projection.bias", HIDDEN)
        for layer in range(LAYERS):
            block = f"{beit}.encoder.layer.{layer}"
            self.draw(f"{block}.lambda_1", HIDDEN)
            self.draw(f"{block}.lambda_2", HIDDEN)
            attention = f"{block}.attention.attention"
            for part in ("query", "key", "value"):
                self.linear(f"{attention}.{part}", HIDDEN, HIDDEN, bias=part != "key")
            position = f"{attention}.relative_position_bias.relative_position"
            self.draw(f"{position}_bias_table", (2 * window - 1) ** 2 + 3, HEADS)
            self.state[f"{position}_index"] = torch.zeros(window**2 + 1, window**2 + 1, dtype=torch.int64)
            self.linear(f"{block}.attention.output.dense", HIDDEN, HIDDEN)
            self.linear(f"{block}.intermediate.dense", WIDE, HIDDEN)
            self.linear(f"{block}.output.dense", HIDDEN, WIDE)
            self.norm(f"{block}.layernorm_before")
            self.norm(f"{block}.layernorm_after")
        self.norm(f"{prefix}image_transformer.layernorm")

    def bert_layer(self, name: str) -> None:
        for part in ("query", "key", "value"):
            self.linear(f"{name}.attention.self.{part}", HIDDEN, HIDDEN)
        self.linear(f"{name}.attention.output.dense", HIDDEN, HIDDEN)
        self.norm(f"{name}.attention.output.LayerNorm")
        self.linear(f"{name}.intermediate.dense", WIDE, HIDDEN)
        self.linear(f"{name}.output.dense", HIDDEN, WIDE)
        self.norm(f"{name}.output.LayerNorm")

    def head(self, name: str) -> None:
        self.draw(f"{name}.bias", VOCAB)
        self.linear(f"{name}.transform.dense", HIDDEN, HIDDEN)
        self.norm(f"{name}.transform.LayerNorm")
        self.draw(f"{name}.decoder.weight", VOCAB, HIDDEN)
        self.state[f"{name}.decoder.bias"] = self.state[f"{name}.bias"]

    def text(self, prefix: str) -> None:
        bert = f"{prefix}text_transformer.bert"
        self.state[f"{bert}.embeddings.position_ids"] = torch.arange(POSITIONS)[None]
        self.draw(f"{bert}.embeddings.word_embeddings.weight", VOCAB, HIDDEN)
        self.draw(f"{bert}.embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
        self.draw(f"{bert}.embeddings.token_type_embeddings.weight", 2, HIDDEN)
        self.norm(f"{bert}.embeddings.LayerNorm")
        for layer in range(LAYERS):
            self.bert_layer(f"{bert}.encoder.layer.{layer}")
        self.head(f"{prefix}text_transformer.cls.predictions")
        for layer in range(2):
            self.bert_layer(f"{prefix}text_transformer.decoder_heads.{layer}")


def official_content(phase: int = 1, window: int = 4, **config: Any) -> dict[str, Any]:
    """What Lightning saves: online weights, in phase 2 momentum copies and queues as well; `config` overrides."""
    generator = Generator(seed=7)
    for prefix in ("", "moco_")[:phase]:
        generator.image(prefix, window)
        generator.text(prefix)
        generator.head(f"{prefix}mlm_head_for_image.predictions")
    if phase == 2:
        for queue in ("image_queue", "text_queue"):
            generator.draw(queue, VOCAB, QUEUE)
            generator.state[f"{queue}_ptr"] = torch.tensor([3])
    settings = {"image_size": 16 * window, "num_heads": HEADS, "max_text_len": 12, "training_mode": "both"} | config
    return {
        "epoch": 3,
        "global_step": 99,
        "pytorch-lightning_version": "1.3.2",
        "state_dict": generator.state,
        "hparams_name": "kwargs",
        "hyper_parameters": {"config": settings},
    }
