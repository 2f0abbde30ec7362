"""The model that a run starts from: fresh, or an earlier phase's, at the run's image size and dropout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lexlip_kernels.errors import InputError
from lexlip_training.checkpoint import load_checkpoint, load_dense_checkpoint
from lexlip_training.config import ImageTowerConfig, ModelConfig, preset
from lexlip_training.dense_model import DenseConfig, DenseModel
from lexlip_training.engine.position_tables import fit_position_tables
from lexlip_training.engine.settings import ModelSettings
from lexlip_training.mobilenet_v2 import load_folded_mobilenet_v2
from lexlip_training.model import LexLIP
from lexlip_training.tokenizer_files import read_tokenizer_file
from lexlip_training.wordpiece import suppressed_terms, train_wordpiece

__all__ = ["adapted_config", "image_size_changed", "starting_model"]


def starting_model(
    settings: ModelSettings, captions: Callable[[], list[str]]
) -> tuple[LexLIP | DenseModel, Tokenizer, dict[str, Any]]:
    """Model, tokenizer, and the training record of the checkpoint that it came from ({} for a fresh model).

    Args:
        settings: section `[model]`.
        captions: the training captions, asked for only where a vocabulary is trained on them.

    Raises:
        BundleError: the start is no checkpoint.
        InputError: a setting does not fit the model.
    """
    if settings.start is None:
        return _fresh(settings, captions)
    earlier, tokenizer, record = _load(settings.start)
    config = earlier.config if isinstance(earlier, LexLIP) else earlier.config.towers
    if isinstance(earlier, DenseModel) and settings.representation == "lexicon":
        raise InputError(
            f"{settings.start}: a dense model, which has no lexicon to train; start from a LexLIP checkpoint"
        )
    model = _build(settings, adapted_config(config, settings))
    weights = fit_position_tables(earlier.state_dict(), model)
    if isinstance(model, DenseModel) and isinstance(earlier, LexLIP):
        weights = {name: value for name, value in weights.items() if name.startswith(("image_tower.", "text_tower."))}
    model.load_state_dict(weights)
    return model, tokenizer, record


def adapted_config(config: ModelConfig, settings: ModelSettings) -> ModelConfig:
    """A configuration with the run's image size, dropout, drop path and token sampling.

    Raises:
        InputError: the model lacks a tower.
    """
    if config.image is None or config.text is None:
        raise InputError(f"{config.name} encodes {config.modalities[0]}s only; training needs both towers")
    image, text = _adapted_image(config.image, settings), config.text
    if settings.dropout is not None:
        text = text.model_copy(update={"dropout": settings.dropout})
    return config.model_copy(update={"image": image, "text": text})


def image_size_changed(image: ImageTowerConfig, size: int) -> ImageTowerConfig:
    """The same tower for images of another size, in pixels."""
    options = dict(image.backbone_options)
    if size != image.image_size and _is_patch_based(image.backbone):
        options["img_size"] = size
    return image.model_copy(update={"image_size": size, "backbone_options": options})


def _adapted_image(image: ImageTowerConfig, settings: ModelSettings) -> ImageTowerConfig:
    changes: dict[str, Any] = {}
    if settings.image_size is not None:
        image = image_size_changed(image, settings.image_size)
    options = dict(image.backbone_options)
    if settings.drop_path is not None:
        options["drop_path_rate"] = settings.drop_path
    if settings.training_tokens is not None:
        changes["training_tokens"] = settings.training_tokens or None
    return image.model_copy(update=changes | {"backbone_options": options})


def _is_patch_based(backbone: str) -> bool:
    """Whether timm builds this backbone for one image size; convolutions take any."""
    return any(family in backbone for family in ("beit", "vit", "deit", "eva", "swin"))


def _load(folder: Path) -> tuple[LexLIP | DenseModel, Tokenizer, dict[str, Any]]:
    config = folder / "config.json"
    if config.exists() and '"representation"' in config.read_text("utf-8"):
        return load_dense_checkpoint(folder)
    return load_checkpoint(folder)


def _fresh(
    settings: ModelSettings, captions: Callable[[], list[str]]
) -> tuple[LexLIP | DenseModel, Tokenizer, dict[str, Any]]:
    base = preset(settings.preset)
    tokenizer = (
        read_tokenizer_file(settings.tokenizer) if settings.tokenizer else train_wordpiece(captions(), base.vocab_size)
    )
    suppressed = suppressed_terms(tokenizer) if settings.tokenizer is None else ()
    size = {"vocab_size": tokenizer.get_vocab_size(), "suppressed_ids": suppressed}
    model = _build(settings, adapted_config(base.model_copy(update=size), settings))
    if settings.backbone is not None:
        load_folded_mobilenet_v2(model.image_tower.backbone, settings.backbone)
    return model, tokenizer, {}


def _build(settings: ModelSettings, config: ModelConfig) -> LexLIP | DenseModel:
    return LexLIP(config) if settings.representation == "lexicon" else DenseModel(DenseConfig(towers=config))
