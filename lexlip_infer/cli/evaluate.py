"""`lexlip eval`: quality of a model, on captioned photographs (the command without a name) and on class folders."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexlip_infer.cli import evaluate_run, large_scale
from lexlip_infer.cli.options import (
    AsJson,
    Backend,
    Device,
    Head,
    Model,
    Precision,
    QueryMode,
    Save,
    TextTopK,
    Threads,
)
from lexlip_infer.cli.shell import DefaultCommandGroup, application, console, print_table, progress_bar, refuse_existing
from lexlip_infer.errors import InputError, OutputError, require

if TYPE_CHECKING:
    from lexlip_infer.datasets import CaptionedImages
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.evaluation.small_scale import RankedQueries, Settings, SmallScale
    from lexlip_infer.vectors.sparse_batch import SparseBatch

app = application(
    "Measure quality. `lexlip eval FILE` is `lexlip eval retrieval FILE`.", DefaultCommandGroup, no_args_is_help=True
)

Captions = Annotated[Path, typer.Argument(metavar="FILE", help="captions.jsonl, Karpathy's .json or an official .tsv")]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="rows to use  [default: dev; test of Karpathy's JSON]")]
ImagesFolder = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="image paths are relative to  [default: FILE's]")
]
Protocol = Annotated[
    str | None, typer.Option(metavar="NAME", help="of the literature: coco-5k, coco-1k, flickr30k or flickr8k")
]
Folds = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="equal parts searched each for itself and averaged")
]
Plot = Annotated[
    Path | None, typer.Option(metavar="DIR", help="draw recall against kept terms, bits and time of a search")
]
ImageTopK = Annotated[int | None, typer.Option(metavar="N", min=1, help="terms of an image  [default: the model's]")]
QuantScale = Annotated[float | None, typer.Option(metavar="X", help="of the quantiser  [default: the model's]")]


@app.command("retrieval")
def evaluate(
    captions: Captions,
    split: Split = None,
    images_folder: ImagesFolder = None,
    protocol: Protocol = None,
    folds: Folds = None,
    model: Model = None,
    image_top_k: ImageTopK = None,
    text_top_k: TextTopK = None,
    query_mode: QueryMode = None,
    quant_scale: QuantScale = None,
    as_json: AsJson = False,
    save: Save = None,
    plot: Plot = None,
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    head: Head = "auto",
) -> None:
    """Print recall at 1, 5 and 10, mean and median rank, text to image and image to text.

    Un-pruned vectors under the model's similarity stand beside what a user gets: kept terms, integer impacts, exact
    search on an inverted index. Intervals are 95 per cent, bootstrapped over photographs.
    """
    from lexlip_infer.datasets import default_split, read_captions_file
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.evaluation.small_scale import Settings, evaluate_small_scale
    from lexlip_infer.runtime.lookup import checked_mode

    refuse_existing(save)
    _check_plots(plot)
    data, parts = _counted(read_captions_file(captions, split, images_folder), protocol, folds)
    names = None if save is None else data.names()  # refuses what is listed twice, before anything is encoded
    encoder = LexLIPEncoder.from_pretrained(model, device, precision, threads, backend=backend, head=head)
    manifest = encoder.manifest
    settings = Settings.of(manifest, image_top_k, text_top_k, quant_scale)
    settings = replace(settings, folds=parts, query_mode=checked_mode(encoder.bundle, query_mode))
    # Texts first: a mode that the model lacks is refused before minutes of photographs.
    texts = encoder.encode_texts(data.captions, top_k=manifest.vocab_size, mode=settings.query_mode)
    images = encoder.encode_images(data.images, batch_size=16, top_k=manifest.vocab_size)
    found = evaluate_small_scale(encoder, images, texts, data, settings)
    if save is not None and names is not None:
        found.query_results(names, f"{manifest.name}, {settings}", captions.name).save(save)
    about = _measured(encoder, settings) | {
        "data": captions.name,
        "split": split or default_split(captions),
        "protocol": protocol,
        "folds": parts,
        "images": len(data.images),
        "captions": len(data.captions),
        "terms_per_image_full": round(images.nnz / len(images), 1),
        "terms_per_text_full": round(texts.nnz / len(texts), 1),
    }
    if plot is not None:
        about |= _sweeps(encoder, images, texts, data, settings, plot)
    if as_json:
        typer.echo(json.dumps(about | found.record(), indent=2))
    else:
        _print_retrieval(found, str(settings))


def _measured(encoder: LexLIPEncoder, settings: Settings) -> dict[str, Any]:
    """What was measured, for `--json`: the model, and how its vectors were made."""
    return {
        "model": encoder.manifest.name,
        "model_fingerprint": encoder.bundle.fingerprint,
        "top_k": {"image": settings.image_top_k, "text": settings.text_top_k},
        "scale": settings.scale,
        "query_mode": settings.query_mode,
    }


def _sweeps(
    encoder: LexLIPEncoder,
    images: SparseBatch,
    texts: SparseBatch,
    data: CaptionedImages,
    settings: Settings,
    folder: Path,
) -> dict[str, Any]:
    """Measure what kept terms and bits do, draw it into a folder, and return the figures."""
    from lexlip_infer.evaluation.calibration import BITS, calibrate, sweep_terms
    from lexlip_infer.evaluation.plots import draw_sweep

    terms = sweep_terms(encoder, images, texts, data, settings)
    bits = calibrate(encoder, images, texts, data, [settings.image_top_k], settings.text_top_k, BITS).outcomes
    draw_sweep(terms, bits, folder, encoder.manifest.name)
    shown = ("bits", "scale", "text_to_image", "image_to_text")
    points = [{key: asdict(outcome)[key] for key in shown} for outcome in bits]
    return {"sweep_kept_terms": [*map(asdict, terms)], "sweep_bits": points}


def _check_plots(folder: Path | None) -> None:
    """Say before minutes of work, not after them, that pictures cannot be drawn."""
    if folder is None:
        return
    require("matplotlib", extra="viz")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is no folder; --plot takes the folder that pictures are written to")


def _counted(data: CaptionedImages, protocol: str | None, folds: int | None) -> tuple[CaptionedImages, int]:
    """The photographs and captions that count, and the number of folds."""
    from lexlip_infer.datasets import PROTOCOLS

    if protocol is not None:
        if protocol not in PROTOCOLS:
            raise InputError(f"--protocol {protocol}: there is no such protocol; expected {', '.join(PROTOCOLS)}")
        if folds is not None:
            raise InputError(f"--protocol {protocol} has its own folds; leave --folds {folds} out")
        data, folds = PROTOCOLS[protocol].apply(data), PROTOCOLS[protocol].folds
    data.fold_of_images(folds or 1)  # refuses what cannot be divided
    return data, folds or 1


def _print_retrieval(found: SmallScale, impacts: str) -> None:
    """One row for each direction and kind of vectors."""
    rows = []
    for direction in found.full:
        words = direction.replace("_", " ")
        rows.append((f"{words}, full vectors", *_retrieval_cells(found.full[direction])))
        rows.append((f"{words}, impacts", *_retrieval_cells(found.impacts[direction])))
    _print(("R@1", "R@5", "R@10", "mean rank", "median"), rows, impacts)


def _retrieval_cells(ranked: RankedQueries) -> list[str]:
    figures = asdict(ranked.recall())
    cells = [f"{figures[f'at_{k}']:.1f} [{low:.1f}, {high:.1f}]" for k, (low, high) in ranked.intervals().items()]
    return [*cells, f"{ranked.mean_rank():.1f}", f"{ranked.median_rank():g}"]


@app.command("zero-shot")
def zero_shot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="class folders: DIR/CLASS/image.jpg")],
    templates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a prompt a line, with {} for the class  [default: seven]")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="lines folder, tab, name  [default: folders' names, _ as blank]")
    ] = None,
    model: Model = None,
    image_top_k: ImageTopK = None,
    text_top_k: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="terms of a class  [default: the model's, of a text]")
    ] = None,
    query_mode: QueryMode = None,
    quant_scale: QuantScale = None,
    as_json: AsJson = False,
    save: Save = None,
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    head: Head = "auto",
) -> None:
    """Print top-1 and top-5 accuracy and the mean per class, of full vectors and of impacts.

    A class is the mean of its prompts' unit vectors. Intervals are 95 per cent, bootstrapped over images.
    """
    from lexlip_infer.datasets.class_folders import TEMPLATES, read_class_folders, read_templates
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.evaluation.small_scale import Settings
    from lexlip_infer.evaluation.zero_shot import class_vectors, classify
    from lexlip_infer.runtime.lookup import checked_mode

    refuse_existing(save)
    folders = read_class_folders(folder, names)
    prompts = TEMPLATES if templates is None else read_templates(templates)
    encoder = LexLIPEncoder.from_pretrained(model, device, precision, threads, backend=backend, head=head)
    settings = Settings.of(encoder.manifest, image_top_k, text_top_k, quant_scale)
    settings = replace(settings, query_mode=checked_mode(encoder.bundle, query_mode))
    classes = class_vectors(encoder, folders.names, prompts, settings.query_mode)
    with progress_bar(len(folders.images), "images") as progress:
        found = classify(encoder, folders, classes, settings, progress)
    if save is not None:
        found.query_results(folders, f"{encoder.manifest.name}, {settings}").save(save)
    figures = found.record(folders)
    if as_json:
        about = _measured(encoder, settings) | {
            "classes": len(folders.names),
            "images": len(folders.images),
            "templates": list(prompts),
        }
        typer.echo(json.dumps(about | figures, indent=2, ensure_ascii=False))
        return
    rows = []
    for name, row in zip(("full vectors", "impacts"), figures.values(), strict=True):
        intervals = [(row[f"top_{k}"], *row[f"top_{k}_interval_95"]) for k in (1, 5)]
        cells = [f"{figure:.1f} [{low:.1f}, {high:.1f}]" for figure, low, high in intervals]
        rows.append((name, *cells, f"{row['mean_per_class']:.1f}"))
    _print(("top-1", "top-5", "mean per class"), rows, str(settings))


def _print(columns: tuple[str, ...], rows: list[tuple[str, ...]], impacts: str) -> None:
    print_table(("per cent [95 % interval]", *columns), rows)
    console().print(f"impacts: {impacts}", highlight=False)


app.command("run")(evaluate_run.evaluate_run)
app.command("compare")(evaluate_run.compare)
app.command("large-scale")(large_scale.large_scale)
