"""`lexlip-train recipe`: what makes lexlip-tiny, on one CPU; a run of the shipped configuration `lexlip_tiny`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.errors import InputError, require

#: The configuration that ships.
SETTINGS = "lexlip_tiny"


def recipe(
    captions: Annotated[list[Path], typer.Argument(help="captions.jsonl, one or more, rows {image, captions, split}")],
    output: Annotated[Path, typer.Argument(help="folder for checkpoints and log; resumed if it holds a run")],
    lexicon: Annotated[Path, typer.Option(help="folder that `lexlip-train lexicon` made")],
    backbone: Annotated[Path | None, typer.Option(help="EfficientNet-Lite2 weights (.pth) to start from")] = None,
    start: Annotated[Path | None, typer.Option(help="checkpoint to go on from, instead; keeps its words")] = None,
    settings: Annotated[str, typer.Option(help="configuration: a .toml file, or a shipped one")] = SETTINGS,
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated")] = None,
    notice: Annotated[str, typer.Option(help="terms of use of data and weights, for the model card")] = "",
    threads: Annotated[int, typer.Option(min=1, help="of torch; as many as there are idle cores")] = 2,
) -> None:
    """Train lexlip-tiny; select on split "dev" of the first captions."""
    for module in ("torch", "timm", "transformers", "accelerate"):
        require(module, extra="train")
    from lexlip_training.engine.run import train
    from lexlip_training.engine.settings import load_config

    if (backbone is None) == (start is None):
        raise InputError("give either --backbone WEIGHTS.pth or --start CHECKPOINT")
    values = {
        "model.lexicon": str(lexicon),
        "model.backbone": None if backbone is None else str(backbone),
        "model.start": None if start is None else str(start),
        "data.train": [str(path) for path in captions],
        "data.dev": [str(captions[0])],
        "run.threads": threads,
        "run.notice": notice,
    }
    given = [f"{key}={'none' if value is None else json.dumps(value)}" for key, value in values.items()]
    train(load_config(settings, [*given, *(set_ or [])]), output, resume=True)
