"""`lexlip-train recipe`: the recipe that made the shipped lexlip-tiny, on one CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
import typer

from lexlip_infer.errors import InputError, require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lexlip_training.model import LexLIP
    from lexlip_training.recipe import RecipeSettings

__all__ = ["recipe"]


def recipe(
    captions: Annotated[Path, typer.Argument(help="captions.jsonl with rows {image, captions, split}")],
    output: Annotated[Path, typer.Argument(help="folder for checkpoints and log; resumed if it holds a run")],
    backbone: Annotated[Path | None, typer.Option(help="folded MobileNetV2 weights (.npz) to start from")] = None,
    start: Annotated[Path | None, typer.Option(help="checkpoint to go on from, instead; keeps its tokenizer")] = None,
    notice: Annotated[str, typer.Option(help="terms of use of data and weights, for the model card")] = "",
    settings: Annotated[Path | None, typer.Option(help="JSON file of recipe settings to override")] = None,
    threads: Annotated[int, typer.Option(help="torch threads; one is fastest on a busy machine")] = 1,
) -> None:
    """Train lexlip-tiny by its own recipe, vocabulary included; select on split "dev"."""
    for module in ("torch", "timm", "transformers"):
        require(module, extra="train")
    import torch

    from lexlip_training.captioned_images import read_captions
    from lexlip_training.record import provenance
    from lexlip_training.trainer import Trainer, seed_everything

    chosen = _read_settings(settings)
    torch.set_num_threads(threads)
    seed_everything(chosen.seed)
    training, development = read_captions(captions, "train"), read_captions(captions, "dev")
    texts = [caption for image in training for caption in image.captions]
    model, tokenizer, earlier = _starting_point(texts, backbone, start)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    record = provenance(notice or earlier.get("notice", ""))
    if earlier:
        record["continued_from"] = {key: value for key, value in earlier.items() if key != "notice"}
    Trainer(model, tokenizer, training, development, chosen, output, record).run()


def _starting_point(
    texts: list[str], backbone: Path | None, start: Path | None
) -> tuple[LexLIP, Tokenizer, dict[str, Any]]:
    """A fresh model on a pretrained backbone, or an earlier checkpoint with its training record."""
    from lexlip_training.checkpoint import load_checkpoint
    from lexlip_training.config import preset
    from lexlip_training.mobilenet_v2 import load_folded_mobilenet_v2
    from lexlip_training.model import LexLIP
    from lexlip_training.wordpiece import suppressed_terms, train_wordpiece

    if (backbone is None) == (start is None):
        raise InputError("give either --backbone WEIGHTS.npz or --start CHECKPOINT")
    if start is not None:
        return load_checkpoint(start)
    assert backbone is not None
    base = preset("lexlip-tiny")
    tokenizer = train_wordpiece(texts, base.vocab_size)
    model = LexLIP(base.model_copy(update={"suppressed_ids": suppressed_terms(tokenizer)}))
    load_folded_mobilenet_v2(model.image_tower.backbone, backbone)
    return model, tokenizer, {}


def _read_settings(path: Path | None) -> RecipeSettings:
    from lexlip_training.recipe import RecipeSettings

    if path is None:
        return RecipeSettings()
    try:
        return RecipeSettings.model_validate(json.loads(path.read_text()))
    except (OSError, ValueError, pydantic.ValidationError) as error:
        raise InputError(f"{path}: not valid recipe settings ({error})") from None
