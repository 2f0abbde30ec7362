"""Options that several commands have; one that a single command has stands with that command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str | None, typer.Option(metavar="MODEL", help="bundle  [default: the shipped lexlip-tiny]")]
BundleOrHubId = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="bundle folder or Hugging Face hub id  [default: the shipped lexlip-tiny]"),
]
ModelOfOutput = Annotated[
    str | None, typer.Option(metavar="MODEL", help="bundle  [default: the one OUT was encoded with]")
]

# Where and how a model runs.
Device = Annotated[
    str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N; auto takes a GPU where one can be used")
]
Precision = Annotated[
    str, typer.Option(metavar="NAME", help="auto, f32, fp16 (GPU), bf16 (extra openvino) or int8, if the model has it")
]
Backend = Annotated[str, typer.Option(metavar="NAME", help="what runs the backbone: auto, onnxruntime or openvino")]
Head = Annotated[str, typer.Option(metavar="NAME", help="what runs the lexicon head: auto, native, onnx or triton")]
#: More than the largest machine has is a slip of the hand, and fails far from here.
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=4096, help="CPU threads  [default: all available]")
]

# What is measured, and what comes of it.
Captions = Annotated[Path, typer.Argument(metavar="FILE", help="captions.jsonl with rows {image, captions, split}")]
Split = Annotated[str, typer.Option(metavar="NAME", help="rows to use")]
QueryMode = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="texts through their tower, or lookup: the weights of their words, no model  [default: the model's way]",
    ),
]
TextTopK = Annotated[int | None, typer.Option(metavar="N", min=1, help="terms of a text  [default: the model's]")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object")]
Save = Annotated[
    Path | None, typer.Option(metavar="JSON", help="write what every single query got, for lexlip eval compare")
]
