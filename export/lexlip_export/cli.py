"""`lexlip-export`: from a checkpoint to a model bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lexlip_export.gate_settings import GateSettings
from lexlip_export.settings import ExportSettings
from lexlip_infer.bundle import Precision
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
    evaluation: Annotated[Path | None, typer.Option(help="output of lexlip eval --json, for the card")] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="fp16, int8 or all, beside f32; may be given several times"),
    ] = None,
    gate_captions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="captions.jsonl to compare precisions on  [default: synthetic inputs]"),
    ] = None,
    gate_split: Annotated[str, typer.Option(metavar="NAME", help="rows of it to use")] = "dev",
) -> None:
    """Export CHECKPOINT to the model bundle OUTPUT: ONNX graphs, tokenizer, heads, manifest, model card.

    A precision beside f32 has to pass the parity gate, whose report is written to parity.json: errors of hidden states
    and weights, overlap of kept terms, and, with captions, what it does to retrieval.
    """
    from lexlip_export import export_bundle

    settings = ExportSettings(
        image_top_k=image_top_k,
        text_top_k=text_top_k,
        storage="f16" if half_storage else "f32",
        precisions=_precisions(precision or []),
    )
    try:
        figures = None if evaluation is None else json.loads(evaluation.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{evaluation}: not the output of lexlip eval --json ({error})") from None
    gate = GateSettings(captions=gate_captions, split=gate_split)
    export_bundle(checkpoint, output, settings, figures, gate)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    typer.echo(f"{output}: {size / 1e6:.1f} MB")


def _precisions(names: list[str]) -> tuple[Precision, ...]:
    known: dict[str, tuple[Precision, ...]] = {"f32": ("f32",), "fp16": ("fp16",), "int8": ("int8",)}
    known["all"] = ("f32", "fp16", "int8")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"--precision {unknown[0]!r} is not known; expected {', '.join(known)}")
    return tuple(precision for name in names for precision in known[name])


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip-export")
