"""`lexlip-export`: from a checkpoint to a model bundle."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from lexlip_export.settings import MOST_QUERY_TERMS, ExportSettings, FurtherGraph, GateSettings, named_precisions
from lexlip_infer.bundle import Bundle
from lexlip_infer.cli.shell import application, run_application
from lexlip_infer.errors import BundleError, InputError

app = application("Export a checkpoint to a model bundle.")


class _Cpu(StrEnum):
    f32 = "f32"
    int8 = "int8"


class _PositionMode(StrEnum):
    legacy_1d = "legacy_1d"
    bicubic_2d = "bicubic_2d"


_Checkpoint = Annotated[
    Path | None,
    typer.Argument(
        help="folder of lexlip-train, official LexLIP checkpoint file, folder of SPLADE, VDR, D2S or term weights"
    ),
]
_Output = Annotated[Path | None, typer.Argument(help="bundle folder to write; an older bundle there is replaced")]
_ImageTopK = Annotated[
    int | None, typer.Option(min=1, help="default kept terms of an image  [default: the model's own, or 256]")
]
_TextTopK = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_QUERY_TERMS, help="of a text  [default: the model's own limit, or 64]"),
]
_Evaluations = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]FILE", help="output of lexlip eval --json, for the card; may be given several times"),
]
_Words = Annotated[
    Path | None, typer.Option(metavar="FILE", help="report of benchmarks/words_of_images.py, for the card")
]
_About = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Markdown for the card, by people; pictures that it shows lie beside it"),
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
_VerifyOracle = Annotated[
    Path | None,
    typer.Option(
        metavar="BUNDLE", help="export nothing: compare a bundle of VDR or D2S with what its makers published"
    ),
]
_Picture = Annotated[Path | None, typer.Option(metavar="FILE", help="their picture, for --verify-oracle")]
_OracleValues = Annotated[
    Path | None, typer.Option(metavar="FILE", help="JSON of other values, for --verify-oracle  [default: published]")
]
_Dense = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="towers below a D2S head: Hugging Face folder of a BLIP, or checkpoint of LAVIS"),
]
_TextHeads = Annotated[int | None, typer.Option(min=1, help="attention heads of its text tower  [default: as it says]")]


@app.command()
def export(
    checkpoint: _Checkpoint = None,
    output: _Output = None,
    image_top_k: _ImageTopK = None,
    text_top_k: _TextTopK = None,
    half_storage: Annotated[bool, typer.Option(help="store weights as float16; half the size")] = False,
    int8_storage: Annotated[bool, typer.Option(help="store weights as int8 with a scale a row; a quarter")] = False,
    graph: Annotated[list[FurtherGraph] | None, typer.Option(help="a further graph to write; repeatable")] = None,
    evaluation: _Evaluations = None,
    words: _Words = None,
    about: _About = None,
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
    dense: _Dense = None,
    verify_oracle: _VerifyOracle = None,
    picture: _Picture = None,
    oracle_values: _OracleValues = None,
) -> None:
    """Export CHECKPOINT to the model bundle OUTPUT: ONNX graphs, tokenizer, heads, manifest, model card.

    Nothing is downloaded: an official checkpoint exported without --tokenizer encodes images and token ids, no texts.
    A precision beside f32 has to pass the parity gate, whose report is written to parity.json: errors of hidden states
    and weights, overlap of kept terms, and, with captions, what it does to retrieval.
    """
    from lexlip_export import ImportOptions, export_bundle
    from lexlip_export.card_facts import read_facts

    if verify_oracle or picture or oracle_values:
        _verify(verify_oracle, picture, oracle_values, checkpoint)
        return
    if checkpoint is None or output is None:
        raise InputError("CHECKPOINT or OUTPUT is missing; lexlip-export --help says what they are")
    options = ImportOptions(
        tokenizer, image_size, None if position_mode is None else position_mode.value, text_heads, dense
    )
    settings = ExportSettings(
        storage=_storage(half_storage, int8_storage),
        cpu_precision="int8" if cpu_precision is _Cpu.int8 else "f32",
        precisions=named_precisions(precision or []),
        graphs=tuple(graph or ()),
    )
    kept = {"image_top_k": image_top_k, "text_top_k": text_top_k}
    settings = settings.model_copy(update={name: value for name, value in kept.items() if value is not None})
    gate = GateSettings(captions=gate_captions, split=gate_split, calibration=calibration_images)
    facts = read_facts(evaluation or [], words, about)
    export_bundle(checkpoint, output, settings, facts, gate=gate, options=options, attribution=attribution)
    say_size(output)
    say_scale(output)
    say_notice(output)


def _storage(half: bool, int8: bool) -> Literal["f32", "f16", "i8"]:
    if half and int8:
        raise InputError("--half-storage and --int8-storage are two ways to store the same weights; leave one out")
    return "i8" if int8 else "f16" if half else "f32"


def _verify(bundle: Path | None, picture: Path | None, values: Path | None, checkpoint: Path | None) -> None:
    """Print published and found values side by side.

    Raises:
        BundleError: one is further off than it may be.
    """
    from lexlip_export.public.oracle import compare_with_oracle

    if bundle is None or picture is None or checkpoint is not None:
        raise InputError("expected lexlip-export --verify-oracle BUNDLE --picture FILE, and nothing to export")
    oracle, compared = compare_with_oracle(bundle, picture, values)
    typer.echo(f"values of {oracle.picture}")
    for what, published, found in compared:
        typer.echo(f"{published:10.5f} {found:10.5f}  {what if len(what) <= 60 else what[:59] + '…'}")
    off = max(abs(published - found) for _, published, found in compared)
    if not off <= oracle.tolerance:
        raise BundleError(
            f"{bundle}: off by {off:.5f}, may be by {oracle.tolerance:g}; is {picture} {oracle.picture}, and are these "
            "the weights that the values are of?"
        )
    typer.echo(f"off by {off:.5f} at most, may be by {oracle.tolerance:g}")


def say_size(bundle: Path) -> None:
    """Print what a bundle takes on the disk."""
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    typer.echo(f"{bundle}: {size / 1e6:.1f} MB")


def say_scale(bundle: Path) -> None:
    """Print the scale that was chosen for a model that brings none, and whether it makes many weights too small."""
    from lexlip_infer.impacts import MOST_LIFTED

    manifest = Bundle.open(bundle).manifest
    training = manifest.provenance.get("training")
    chosen = training.get("scale") if isinstance(training, dict) else None
    if not isinstance(chosen, dict):
        return
    typer.echo(f"scale: {manifest.quantisation.scale:g}, which fits {chosen['fits']}; lexlip calibrate finds another")
    if chosen["lifted"] > MOST_LIFTED:
        typer.echo(
            f"warning: {chosen['lifted']:.0%} of the kept terms have weights that this scale makes less than 1, and "
            "count as 1: keep fewer terms (--image-top-k, --text-top-k), or calibrate with more bits",
            err=True,
        )


def say_notice(bundle: Path) -> None:
    """Print on what terms the weights of a bundle may be used, as far as anybody has said."""
    typer.echo(f"notice: {Bundle.open(bundle).manifest.notice or 'none was recorded with these weights'}")


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip-export")
