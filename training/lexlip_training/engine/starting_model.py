"""The model that a run starts from: fresh, or an earlier phase's, at the run's image size and dropout.

Weights for another image size: every table of positions follows by bicubic interpolation in two dimensions. The
official code stretches BEiT's flattened table of relative positions in one dimension, which scrambles it; here timm's
own resize does it, the three rows of the class token kept as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import resize_rel_pos_bias_table
from tokenizers import Tokenizer
from torch import Tensor, nn

from lexlip_kernels.errors import InputError
from lexlip_training.checkpoint import load_any_checkpoint
from lexlip_training.config import ImageTowerConfig, ModelConfig, preset
from lexlip_training.efficientnet_lite import load_efficientnet_lite
from lexlip_training.engine.settings import ModelSettings
from lexlip_training.lexicon.folder import Lexicon
from lexlip_training.model import DenseConfig, DenseModel, LexLIP
from lexlip_training.wordpiece import read_tokenizer_file, suppressed_terms, train_wordpiece

#: Lengths of a word's vector, in the mean, and of a class's: those that training without a start ends near.
WORD_NORM, CLASS_NORM = 0.4, 8.0


def starting_model(
    settings: ModelSettings, captions: Callable[[], list[str]], rebuild: bool = True
) -> tuple[LexLIP | DenseModel, Tokenizer, dict[str, Any]]:
    """Model, tokenizer, and the training record of the checkpoint that it came from ({} for a fresh model).

    Args:
        settings: section `[model]`.
        captions: the training captions, asked for only where a vocabulary is trained on them.
        rebuild: make a second model also where the start can be taken as it is; that moves the random draws after it.

    Raises:
        BundleError: the start is no checkpoint.
        InputError: a setting does not fit the model.
    """
    if settings.start is None:
        return _fresh(settings, captions)
    earlier, tokenizer, record = load_any_checkpoint(settings.start)
    if isinstance(earlier, DenseModel) and settings.representation == "lexicon":
        raise InputError(
            f"{settings.start}: a dense model, which has no lexicon to train; start from a LexLIP checkpoint"
        )
    wanted = adapted_config(earlier.towers, settings)
    if not rebuild and isinstance(earlier, LexLIP) and wanted == earlier.towers:
        return earlier, tokenizer, record
    model = _build(settings, wanted)
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


def _fresh(
    settings: ModelSettings, captions: Callable[[], list[str]]
) -> tuple[LexLIP | DenseModel, Tokenizer, dict[str, Any]]:
    base = preset(settings.preset)
    lexicon = None if settings.lexicon is None else Lexicon.load(settings.lexicon)
    if lexicon is not None:
        tokenizer = lexicon.tokenizer
    elif settings.tokenizer is not None:
        tokenizer = read_tokenizer_file(settings.tokenizer)
    else:
        tokenizer = train_wordpiece(captions(), base.vocab_size)
    suppressed = () if lexicon is None and settings.tokenizer is not None else suppressed_terms(tokenizer)
    size = {"vocab_size": tokenizer.get_vocab_size(), "suppressed_ids": suppressed}
    model = _build(settings, adapted_config(base.model_copy(update=size), settings))
    if settings.backbone is not None:
        load_efficientnet_lite(model.image_tower.backbone, settings.backbone)
    if lexicon is not None and isinstance(model, LexLIP):
        start_from_words(model, lexicon)
    return model, tokenizer, {}


@torch.no_grad()
def start_from_words(model: LexLIP, lexicon: Lexicon) -> None:
    """Put words where a sentence encoder has them, and classes where their words are.

    The encoder's vectors are turned to their principal axes, of which the first H are kept.

    Raises:
        InputError: the encoder's vectors have fewer than H numbers.
    """
    if lexicon.embeddings.shape[1] < model.config.hidden_size:
        width = lexicon.embeddings.shape[1]
        raise InputError(
            f"words of {width} numbers for a hidden size of {model.config.hidden_size}; take a larger encoder"
        )
    vectors = torch.from_numpy(lexicon.embeddings)
    centred = vectors - vectors.mean(dim=0)
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, : model.config.hidden_size]
    words = centred @ axes
    words = words / words.norm(dim=1).mean() * WORD_NORM
    model.text_tower.word_embeddings.copy_(words)
    tower = model.image_tower
    if tower.config.class_tokens and tower.config.classes == lexicon.class_words.shape[0]:
        meanings = torch.from_numpy(lexicon.class_words @ words.numpy())
        tower.class_tokens.embedding.copy_(torch.nn.functional.normalize(meanings, dim=1) * CLASS_NORM)


def _build(settings: ModelSettings, config: ModelConfig) -> LexLIP | DenseModel:
    return LexLIP(config) if settings.representation == "lexicon" else DenseModel(DenseConfig(towers=config))


def fit_position_tables(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state dict whose tables of positions have the shapes of `model`'s.

    Args:
        weights: of the same model at any image size.
        model: built for the size that is wanted.

    Raises:
        InputError: another tensor than a table of positions has another shape.
    """
    wanted = model.state_dict()
    return {name: _fit(name, value, wanted.get(name), model) for name, value in weights.items()}


def _fit(name: str, value: Tensor, wanted: Tensor | None, model: nn.Module) -> Tensor:
    if wanted is None or wanted.shape == value.shape:
        return value
    if name.endswith("relative_position_bias_table"):
        window = model.get_submodule(name.rpartition(".")[0]).window_size
        assert isinstance(window, tuple)
        fitted: Tensor = resize_rel_pos_bias_table(value, window, tuple(wanted.shape))
        return fitted
    if name.endswith("relative_position_index"):
        return wanted
    if name.endswith(("adapter.position", "pos_embed")):
        return _fit_grid(value, wanted.shape[1])
    raise InputError(f"{name} has shape {tuple(value.shape)}; the run's model expects {tuple(wanted.shape)}")


def _fit_grid(table: Tensor, length: int) -> Tensor:
    """(1, L, H) to (1, length, H), both square grids, with or without a leading class token."""
    old, new = int(table.shape[1] ** 0.5), int(length**0.5)
    first = table.shape[1] - old * old
    if first != length - new * new or first > 1:
        raise InputError(f"a table of {table.shape[1]} positions cannot become one of {length}: no square grids")
    grid = table[:, first:].transpose(1, 2).reshape(1, -1, old, old)
    fitted = nn.functional.interpolate(grid.float(), (new, new), mode="bicubic", align_corners=False, antialias=False)
    return torch.cat([table[:, :first], fitted.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def enable_gradient_checkpointing(model: LexLIP | DenseModel) -> None:
    """Turn it on in a model's image backbone and text tower; results stay the same.

    Raises:
        InputError: the image backbone cannot.
    """
    backbone = model.image_tower.backbone
    if not hasattr(backbone, "set_grad_checkpointing"):
        raise InputError(f"{type(backbone).__name__} cannot recompute activations; set gradient_checkpointing = false")
    backbone.set_grad_checkpointing(True)
    bert = model.text_tower.bert
    if hasattr(bert, "activation_checkpointing_enable"):
        bert.activation_checkpointing_enable({"use_reentrant": False})
    else:  # transformers of some months ago
        bert.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
