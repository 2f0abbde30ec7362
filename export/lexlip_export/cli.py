"""`lexlip-export`: from a checkpoint to a model bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lexlip_export.settings import ExportSettings, FurtherGraph
from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.errors import InputError

app = application("Export a checkpoint to a model bundle.")
_DEFAULT = ExportSettings()


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder, as lexlip-train writes it")],
    output: Annotated[Path, typer.Argument(help="bundle folder to write; an older bundle there is replaced")],
    image_top_k: Annotated[int, typer.Option(min=1, help="default kept terms of an image")] = _DEFAULT.image_top_k,
    text_top_k: Annotated[int, typer.Option(min=1, max=1024, help="of a text")] = _DEFAULT.text_top_k,
    half_storage: Annotated[bool, typer.Option(help="store weights as float16; half the size")] = False,
    graph: Annotated[list[FurtherGraph] | None, typer.Option(help="a further graph to write; repeatable")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="output of lexlip eval --json, for the card")] = None,
) -> None:
    """Export CHECKPOINT to the model bundle OUTPUT: ONNX graphs, tokenizer, heads, manifest, model card."""
    from lexlip_export import export_bundle

    settings = ExportSettings(
        image_top_k=image_top_k,
        text_top_k=text_top_k,
        graphs=tuple(graph or ()),
        storage="f16" if half_storage else "f32",
    )
    try:
        figures = None if evaluation is None else json.loads(evaluation.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{evaluation}: not the output of lexlip eval --json ({error})") from None
    export_bundle(checkpoint, output, settings, figures)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    typer.echo(f"{output}: {size / 1e6:.1f} MB")


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip-export")
