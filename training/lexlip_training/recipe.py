"""`lexlip-train recipe`: what made the shipped lexlip-tiny, on one CPU; a run with `objective.kind = "recipe"`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
import typer
from pydantic import Field

from lexlip_infer.errors import BundleError, InputError, require
from lexlip_infer.files import first_fault, read_json
from lexlip_training.config import ModelConfig, Settings, preset

if TYPE_CHECKING:
    from lexlip_training.engine.settings import TrainingConfig


class RecipeSettings(Settings):
    """Weights of the objectives and the schedule of the optimiser. Unknown keys are errors."""

    epochs: int = Field(default=28, gt=0)
    unfreeze_epoch: int = Field(default=25, ge=0, description="from this epoch on the whole backbone trains")
    stem_blocks: int = Field(default=5, ge=0, description="stages held still until then")
    views: int = Field(default=5, gt=0, description="fresh crops of each image while the stem is frozen")
    evaluate_every: int = Field(default=3, gt=0, description="epochs, while the stem is frozen; then every one")
    batch_size: int = Field(default=128, gt=1)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    backbone_rate: float = Field(default=0.15, gt=0, description="factor on the learning rate of the backbone")
    weight_decay: float = Field(default=0.02, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of all steps")
    gradient_norm: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    bag_weight: float = Field(default=0.5, ge=0)
    word_weight: float = Field(default=1.0, ge=0)
    flops_weight: float = Field(default=2e-3, ge=0)
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of a caption's tokens left out, at random")
    seed: int = 0

    @classmethod
    def read(cls, file: Path | None) -> RecipeSettings:
        """From a JSON file of what to override.

        Raises:
            InputError: it cannot be read, or a key or value is wrong.
        """
        if file is None:
            return cls()
        try:
            return cls.model_validate(read_json(file, refuse=InputError))
        except (OSError, InputError) as error:
            raise InputError(f"{file}: not valid recipe settings ({error})") from None
        except pydantic.ValidationError as error:
            raise InputError(f"{file}: not valid recipe settings ({first_fault(error)})") from None

    def config(
        self, captions: Path, backbone: Path | None, start: Path | None, max_length: int, notice: str, threads: int
    ) -> TrainingConfig:
        """The run that these settings describe; see the options of the command."""
        from lexlip_training.engine.settings import TrainingConfig

        def own(*names: str) -> dict[str, Any]:
            return self.model_dump(include=set(names))

        values = {
            "model": {"preset": "lexlip-tiny", "start": start, "backbone": backbone, "frozen_stages": self.stem_blocks}
            | own("unfreeze_epoch"),
            "objective": {"kind": "recipe", "average_decay": self.ema_decay}
            | own("bag_weight", "word_weight", "flops_weight"),
            "data": {"train": [captions], "dev": [captions], "rows": "images", "max_length": max_length}
            | own("views", "word_dropout"),
            "optimiser": {"decay": "matrices"}
            | own("batch_size", "learning_rate", "backbone_rate", "weight_decay", "gradient_norm"),
            "schedule": {"warmup_from_zero": False} | own("epochs", "warmup"),
            "evaluation": {"every_epochs": self.evaluate_every, "ranking": "vectors", "batch_size": 50},
            "run": {"precision": "bf16", "device": "cpu", "threads": threads, "tensorboard": False, "notice": notice}
            | own("seed"),
        }
        return TrainingConfig.model_validate(values)


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
    for module in ("torch", "timm", "transformers", "accelerate"):
        require(module, extra="train")
    chosen = RecipeSettings.read(settings)
    if (backbone is None) == (start is None):
        raise InputError("give either --backbone WEIGHTS.npz or --start CHECKPOINT")
    from lexlip_training.engine.run import train

    train(chosen.config(captions, backbone, start, _max_length(start), notice, threads), output, resume=True)


def _max_length(start: Path | None) -> int:
    """Tokens of a caption, as the model has them."""
    try:
        shapes = (
            preset("lexlip-tiny")
            if start is None
            else ModelConfig.model_validate(read_json(start / "config.json", refuse=ValueError))
        )
    except (OSError, ValueError) as error:
        raise BundleError(f"{start}: not a checkpoint of LexLIP ({str(error).splitlines()[0]})") from None
    if shapes.image is None or shapes.text is None:
        raise InputError(f"{shapes.name} encodes {shapes.modalities[0]}s only; training needs both towers")
    return shapes.text.max_length
