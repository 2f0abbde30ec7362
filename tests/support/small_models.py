"""A model of a few thousand random weights in the shape of lexlip-tiny, for tests of everything around a model."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer

from lexlip_training import ImageTowerConfig, LexLIP, ModelConfig, TextTowerConfig
from lexlip_training.wordpiece import suppressed_terms


def small_config(tokenizer: Tokenizer) -> ModelConfig:
    """An adapter and the term bonus included."""
    image = ImageTowerConfig(
        backbone="test_efficientnet",
        image_size=64,
        resize="squash",
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.25, 0.3),
        adapter_layers=1,
        adapter_heads=2,
        freeze_batch_norm=True,
    )
    text = TextTowerConfig(layers=1, heads=2, intermediate_size=64, max_positions=32, max_length=16, term_bonus=True)
    return ModelConfig(
        name="random",
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        image=image,
        text=text,
        tie_decoders=True,
        suppressed_ids=suppressed_terms(tokenizer),
    )


def lookup_config(tokenizer: Tokenizer) -> ModelConfig:
    """The same with weights for queries that no tower sees."""
    config = small_config(tokenizer)
    assert config.text is not None
    return config.model_copy(update={"text": config.text.model_copy(update={"lookup": True})})


def relu6_config(tokenizer: Tokenizer) -> ModelConfig:
    """The same with a backbone that is made for int8, and with tokens of its classes."""
    config = small_config(tokenizer)
    assert config.image is not None
    changes = {"backbone": "mobilenetv2_035", "classes": 12, "class_tokens": 3}
    return config.model_copy(update={"image": config.image.model_copy(update=changes)})


@torch.no_grad()
def small_model(config: ModelConfig) -> LexLIP:
    """In evaluation mode, with embeddings large enough for clear winners among the terms."""
    torch.manual_seed(0)
    model = LexLIP(config)
    model.text_tower.word_embeddings.mul_(20)
    if hasattr(model, "query_weight"):
        model.query_weight.normal_(std=2)
    return model.eval()
