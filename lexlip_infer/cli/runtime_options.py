"""The options that say where and how a model runs, shared by the commands that encode."""

from __future__ import annotations

from typing import Annotated

import typer

Device = Annotated[
    str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N; auto takes a GPU where one can be used")
]
Precision = Annotated[
    str, typer.Option(metavar="NAME", help="auto, f32, fp16 (GPU), bf16 (extra openvino) or int8, if the model has it")
]
Backend = Annotated[str, typer.Option(metavar="NAME", help="what runs the backbone: auto, onnxruntime or openvino")]
Head = Annotated[str, typer.Option(metavar="NAME", help="what runs the lexicon head: auto, native, onnx or triton")]
