"""`lexlip-export`: from a checkpoint to a model bundle."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lexlip_export.settings import MOST_QUERY_TERMS, ExportSettings, FurtherGraph, GateSettings, named_precisions
from lexlip_infer.bundle import Bundle
from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.errors import InputError
from lexlip_infer.files import read_json

app = application("Export a checkpoint to a model bundle.")
_DEFAULT = ExportSettings()


class _Cpu(StrEnum):
    f32 = "f32"
    int8 = "int8"


class _PositionMode(StrEnum):
    legacy_1d = "legacy_1d"
    bicubic_2d = "bicubic_2d"


_TextTopK = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_QUERY_TERMS, help="of a text  [default: a SPLADE model's own limit, or 64]"),
]
_Attribution = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="names the makers of the training data; travels as ATTRIBUTION.md"),
]
_Precisions = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="fp16, int8 or all, beside f32; may be given several times"),
]
_CpuPrecision = Annotated[
    _Cpu, typer.Option(help="of images where a CPU encodes and nobody asks for another; int8 brings itself along")
]
_GateCaptions = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="captions.jsonl to compare precisions on  [default: synthetic inputs]"),
]
_CalibrationImages = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="photographs to calibrate int8 convolutions on  [default: those of the captions]"),
]
# Of an official checkpoint alone.
_Tokenizer = Annotated[
    Path | None, typer.Option(help="tokenizer.json, vocab.txt or their folder, of an official checkpoint or idf.json")
]
_ImageSize = Annotated[int | None, typer.Option(min=1, help="pixels, of an official checkpoint  [default: as it says]")]
_Positions = Annotated[
    _PositionMode | None,
    typer.Option(help="how its position tables are enlarged  [default: at 384 px legacy_1d, else bicubic_2d]"),
]
_TextHeads = Annotated[int | None, typer.Option(min=1, help="attention heads of its text tower  [default: as it says]")]


@app.command()
def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="folder of lexlip-train, official LexLIP checkpoint file, folder of a SPLADE model or of term weights"
        ),
    ],
    output: Annotated[Path, typer.Argument(help="bundle folder to write; an older bundle there is replaced")],
    image_top_k: Annotated[int, typer.Option(min=1, help="default kept terms of an image")] = _DEFAULT.image_top_k,
    text_top_k: _TextTopK = None,
    half_storage: Annotated[bool, typer.Option(help="store weights as float16; half the size")] = False,
    int8_storage: Annotated[bool, typer.Option(help="store weights as int8 with a scale a row; a quarter")] = False,
    graph: Annotated[list[FurtherGraph] | None, typer.Option(help="a further graph to write; repeatable")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="output of lexlip eval --json, for the card")] = None,
    attribution: _Attribution = None,
    precision: _Precisions = None,
    cpu_precision: _CpuPrecision = _Cpu.f32,
    gate_captions: _GateCaptions = None,
    gate_split: Annotated[str, typer.Option(metavar="NAME", help="rows of it to use")] = "dev",
    calibration_images: _CalibrationImages = None,
    tokenizer: _Tokenizer = None,
    image_size: _ImageSize = None,
    position_mode: _Positions = None,
    text_heads: _TextHeads = None,
) -> None:
    """Export CHECKPOINT to the model bundle OUTPUT: ONNX graphs, tokenizer, heads, manifest, model card.

    Nothing is downloaded: an official checkpoint exported without --tokenizer encodes images and token ids, no texts.
    A precision beside f32 has to pass the parity gate, whose report is written to parity.json: errors of hidden states
    and weights, overlap of kept terms, and, with captions, what it does to retrieval.
    """
    from lexlip_export import ImportOptions, export_bundle

    if half_storage and int8_storage:
        raise InputError("--half-storage and --int8-storage are two ways to store the same weights; leave one out")
    options = ImportOptions(tokenizer, image_size, None if position_mode is None else position_mode.value, text_heads)
    settings = ExportSettings(
        image_top_k=image_top_k,
        storage="i8" if int8_storage else "f16" if half_storage else "f32",
        cpu_precision="int8" if cpu_precision is _Cpu.int8 else "f32",
        precisions=named_precisions(precision or []),
        graphs=tuple(graph or ()),
    )
    if text_top_k is not None:
        settings = settings.model_copy(update={"text_top_k": text_top_k})
    gate = GateSettings(captions=gate_captions, split=gate_split, calibration=calibration_images)
    figures = _figures(evaluation)
    export_bundle(checkpoint, output, settings, figures, gate=gate, options=options, attribution=attribution)
    say_size(output)
    say_notice(output)


def _figures(evaluation: Path | None) -> dict[str, Any] | None:
    if evaluation is None:
        return None

    def refuse(reason: str) -> InputError:
        return InputError(f"{evaluation}: not the output of lexlip eval --json ({reason})")

    try:
        figures = read_json(evaluation, refuse=refuse)
    except OSError as error:
        raise refuse(str(error.strerror)) from None
    if not isinstance(figures, dict):
        raise refuse("no JSON object")
    return figures


def say_size(bundle: Path) -> None:
    """Print what a bundle takes on the disk."""
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    typer.echo(f"{bundle}: {size / 1e6:.1f} MB")


def say_notice(bundle: Path) -> None:
    """Print on what terms the weights of a bundle may be used, as far as anybody has said."""
    typer.echo(f"notice: {Bundle.open(bundle).manifest.notice or 'none was recorded with these weights'}")


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip-export")
