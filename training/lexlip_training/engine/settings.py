"""Everything that a training run is told, as validated settings, and the files that hold them.

`[objective]` and `[data]` are defined where they are used; the other sections here. The defaults are the
supplementary's where it names a value. Configuration files are TOML by path, or by the name of one that ships with the
package; values given on the command line win. What is wrong is told with file and key, in one line.
"""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field, model_validator

from lexlip_kernels.errors import InputError
from lexlip_training.config import Settings
from lexlip_training.data.config import DataConfig
from lexlip_training.objectives.config import ObjectiveConfig

Precision = Literal["fp16", "bf16", "f32", "f64"]
DecayRule = Literal["sane", "official", "matrices"]


class ModelSettings(Settings):
    """What is trained, and from which weights.

    Attributes:
        preset: shapes of a fresh model; not read where `start` is given.
        representation: "lexicon" is LexLIP, "dense" one vector an input (Dense and CLIP baselines).
        start: checkpoint folder to take shapes, weights and tokenizer from: an earlier phase's `best`, or what
            `lexlip_export.initialise` made of BEiT and BERT.
        tokenizer: tokenizer.json or vocab.txt of a fresh model; None trains a WordPiece on the training captions.
        backbone: EfficientNet-Lite weights (.pth) for a fresh model.
        lexicon: folder that `lexlip-train lexicon` made: tokenizer and words of a fresh model, meanings for objective
            "recipe".
        image_size: pixels; None keeps the start's. Position tables follow by bicubic interpolation.
        dropout: of the text tower; None keeps the start's.
        drop_path: stochastic depth of the image backbone; None keeps the start's.
        training_tokens: image tokens kept, at random, in a training step; 0 keeps all, None the start's.
        frozen_stages: lower stages of a convolutional backbone that stay as they are; their output is remembered for
            each of `data.views`, in the training process, on a CPU.
        unfreeze_epoch: from this epoch on they train, too, on new crops; None never. Of objective "recipe" alone.
        stem_memory: folder for what is remembered, which runs may share; None keeps it in memory.
        gradient_checkpointing: recompute activations in the backward pass instead of keeping them.
    """

    preset: str = "lexlip-base"
    representation: Literal["lexicon", "dense"] = "lexicon"
    start: Path | None = None
    tokenizer: Path | None = None
    backbone: Path | None = None
    lexicon: Path | None = None
    image_size: int | None = Field(default=None, gt=0)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    drop_path: float | None = Field(default=None, ge=0, lt=1)
    training_tokens: int | None = Field(default=None, ge=0)
    frozen_stages: int = Field(default=0, ge=0)
    unfreeze_epoch: int | None = Field(default=None, ge=0)
    stem_memory: Path | None = None
    gradient_checkpointing: bool = False


class OptimiserSettings(Settings):
    """AdamW.

    Attributes:
        batch_size: pairs of one optimiser step, over all processes and accumulated micro-batches.
        accumulation: micro-batches of one optimiser step on each process.
        learning_rate: at the end of the warm-up.
        backbone_rate: factor on it for the image backbone.
        weight_decay: of the groups that decay.
        decay: "sane" spares every bias, norm, scale and table of positions; "official" spares by the official list of
            substrings, which lets BEiT's norms and layer scales decay; "matrices" spares vectors alone.
        betas: of AdamW.
        epsilon: of AdamW.
        gradient_norm: gradients are clipped to this global norm; None clips nothing.
    """

    batch_size: int = Field(default=800, gt=1)
    accumulation: int = Field(default=1, gt=0)
    learning_rate: float = Field(default=5e-5, gt=0)
    backbone_rate: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    decay: DecayRule = "sane"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0)
    gradient_norm: float | None = Field(default=1.0, gt=0)


class ScheduleSettings(Settings):
    """Linear warm-up, then linear decay to zero.

    Attributes:
        epochs: passes over the training pairs.
        max_steps: optimiser steps instead; None follows `epochs`.
        warmup: share of all steps.
        warmup_from_zero: the first step is taken at a rate of zero; False takes it at the first step of the ramp.
    """

    epochs: int = Field(default=20, gt=0)
    max_steps: int | None = Field(default=None, gt=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    warmup_from_zero: bool = True


class EvaluationSettings(Settings):
    """Recall on the development split, which selects the best checkpoint.

    Attributes:
        every_steps: optimiser steps between evaluations; None evaluates after each epoch. The last step always is.
        every_epochs: epochs between evaluations while stages are frozen, where `every_steps` is None; afterwards and
            without frozen stages each epoch has one.
        ranking: "impacts" ranks by what an index holds, "vectors" by the cosine of whole vectors, which a dense model
            is always ranked by.
        batch_size: rows at a time.
        image_top_k: terms kept of an image before quantising; a dense model has none.
        text_top_k: terms kept of a text.
    """

    every_steps: int | None = Field(default=None, gt=0)
    every_epochs: int = Field(default=1, gt=0)
    ranking: Literal["impacts", "vectors"] = "impacts"
    batch_size: int = Field(default=64, gt=0)
    image_top_k: int = Field(default=256, gt=0)
    text_top_k: int = Field(default=64, gt=0)


class RunSettings(Settings):
    """How the run is carried out.

    Attributes:
        seed: of everything random.
        precision: "fp16" scales the loss and needs a GPU; "bf16"; "f32"; "f64" is for tests of exactness.
        device: "auto" takes a GPU where there is one.
        threads: of torch on a CPU; one is fastest on a busy machine.
        norms_in_evaluation: hold dropout and batch statistics still; for tests of exactness.
        checkpoint_steps: optimiser steps between checkpoints; None keeps those of evaluations alone. Objective "recipe"
            writes one after every epoch.
        keep: checkpoints that stay beside the best.
        log_steps: optimiser steps between log lines.
        tensorboard: write event files, too.
        notice: terms of use of data and weights, for the model card.
    """

    seed: int = 0
    precision: Precision = "fp16"
    device: Literal["auto", "cpu"] = "auto"
    threads: int = Field(default=1, gt=0)
    norms_in_evaluation: bool = False
    checkpoint_steps: int | None = Field(default=None, gt=0)
    keep: int = Field(default=1, gt=0)
    log_steps: int = Field(default=10, gt=0)
    tensorboard: bool = True
    notice: str = ""


class TrainingConfig(Settings):
    """A whole run."""

    model: ModelSettings = ModelSettings()
    objective: ObjectiveConfig
    data: DataConfig
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> TrainingConfig:
        kind, representation = self.objective.kind, self.model.representation
        wanted = {"pretrain_lexicon": "lexicon", "pretrain_dense": "dense", "recipe": "lexicon"}.get(
            kind, representation
        )
        if wanted != representation:
            raise ValueError(f"objective.kind {kind!r} trains a {wanted} model; model.representation is otherwise")
        if self.model.frozen_stages and (self.data.views is None or self.data.workers or self.run.device != "cpu"):
            raise ValueError('model.frozen_stages needs data.views, data.workers = 0 and run.device = "cpu"')
        if kind == "recipe" and (self.data.rows != "images" or self.optimiser.accumulation > 1):
            raise ValueError("objective.kind 'recipe' needs data.rows = \"images\" and optimiser.accumulation = 1")
        if kind == "recipe" and (self.model.lexicon is None or self.run.device != "cpu"):
            raise ValueError(
                "objective.kind 'recipe' needs model.lexicon (`lexlip-train lexicon`) and run.device = \"cpu\""
            )
        if kind != "recipe" and (self.model.unfreeze_epoch is not None or self.data.word_dropout):
            raise ValueError("model.unfreeze_epoch and data.word_dropout are read by objective.kind 'recipe' alone")
        return self


def shipped_configs() -> list[str]:
    """Names of the configurations in the package, sorted."""
    folder = resources.files("lexlip_training") / "configs"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load_config(name: str, overrides: list[str] | None = None) -> TrainingConfig:
    """Read and validate a configuration.

    Args:
        name: of a shipped one, or the path of a .toml (or of a run's config.json).
        overrides: `section.key=value`, the value as TOML writes it; a bare word is a string.

    Raises:
        InputError: there is no such file, or it is no TOML, or a key or value is wrong.
    """
    values = _read(name)
    for override in overrides or []:
        _apply(values, override)
    try:
        return TrainingConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise InputError(f"{name}: {_first(error)}") from None


def _read(name: str) -> dict[str, Any]:
    try:
        if name in shipped_configs():
            text = (resources.files("lexlip_training") / "configs" / f"{name}.toml").read_text("utf-8")
        elif not Path(name).suffix and not Path(name).exists():
            raise InputError(f"no configuration is called {name!r}; there are {', '.join(shipped_configs())}")
        else:
            text = Path(name).read_text("utf-8")
        values: dict[str, Any] = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: not a readable configuration ({error})") from None
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and name):
        raise InputError(f"--set {override}: expected section.key=value, for example --set schedule.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table = values.setdefault(section, {})
    for part in name.split(".")[:-1]:
        table = table.setdefault(part, {})
    table[name.split(".")[-1]] = None if value == "none" else value


def _first(error: pydantic.ValidationError) -> str:
    """The first problem: its key, what was given, what was expected."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; docs/training.md says where the keys of each section stand"
    if problem["type"] == "missing":
        return f"{key!r} is missing"
    given = "" if isinstance(problem["input"], dict) else f", {problem['input']!r} was given"
    return f"{key!r}: {problem['msg'].removeprefix('Value error, ')}{given}"
