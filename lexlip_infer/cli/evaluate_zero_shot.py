"""`lexlip eval zero-shot`: classification by prompt templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexlip_infer.cli.evaluate_report import describe
from lexlip_infer.cli.new_output import Save, refuse_existing
from lexlip_infer.cli.runtime_options import Backend, Device, Head, Precision
from lexlip_infer.cli.shell import Threads, console, progress_bar

if TYPE_CHECKING:
    from lexlip_infer.datasets.class_folders import ClassFolders
    from lexlip_infer.evaluation.query_results import QueryResults
    from lexlip_infer.evaluation.ranks import Ranks
    from lexlip_infer.evaluation.zero_shot import ZeroShot


def zero_shot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="class folders: DIR/CLASS/image.jpg")],
    templates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a prompt a line, with {} for the class  [default: seven]")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="lines folder, tab, name  [default: folders' names, _ as blank]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="bundle  [default: the shipped lexlip-tiny]")
    ] = None,
    image_top_k: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="terms of an image  [default: the model's]")
    ] = None,
    text_top_k: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="terms of a class  [default: the model's, of a text]")
    ] = None,
    quant_scale: Annotated[
        float | None, typer.Option(metavar="X", help="of the quantiser  [default: the model's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
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

    refuse_existing(save)
    folders = read_class_folders(folder, names)
    prompts = TEMPLATES if templates is None else read_templates(templates)
    encoder = LexLIPEncoder.from_pretrained(model, device, precision, threads, backend=backend, head=head)
    settings = Settings.of(encoder.manifest, image_top_k, text_top_k, quant_scale)
    classes = class_vectors(encoder, folders.names, prompts)
    with progress_bar(len(folders.images), "images") as progress:
        found = classify(encoder, folders, classes, settings, progress)
    if save is not None:
        _results(found, folders, f"{encoder.manifest.name}, {describe(settings)}").save(save)
    figures = {"full": _figures(found.full, folders), "impacts": _figures(found.impacts, folders)}
    if as_json:
        about = {
            "model": encoder.manifest.name,
            "model_fingerprint": encoder.bundle.fingerprint,
            "classes": len(folders.names),
            "images": len(folders.images),
            "templates": list(prompts),
            "top_k": {"image": settings.image_top_k, "text": settings.text_top_k},
            "scale": settings.scale,
        }
        typer.echo(json.dumps(about | figures, indent=2, ensure_ascii=False))
    else:
        _print(figures, describe(settings))


def _figures(ranks: Ranks, folders: ClassFolders) -> dict[str, Any]:
    """In per cent."""
    import numpy as np

    from lexlip_infer.evaluation.significance import bootstrap_interval
    from lexlip_infer.evaluation.zero_shot import mean_per_class

    clusters = np.arange(len(ranks))
    figures: dict[str, Any] = {}
    for k in (1, 5):
        hits = np.where(ranks <= k, 100.0, 0.0)
        figures[f"top_{k}"] = round(float(hits.mean()), 2)
        figures[f"top_{k}_interval_95"] = [round(end, 2) for end in bootstrap_interval(hits, clusters)]
    return figures | {"mean_per_class": round(100 * mean_per_class(ranks <= 1, folders.labels), 2)}


def _results(found: ZeroShot, folders: ClassFolders, system: str) -> QueryResults:
    from lexlip_infer.evaluation.query_results import QueryResults, Section, rank_measures

    ids = folders.ids()
    sections = {
        f"zero-shot, {kind}": Section(queries=ids, clusters=ids, measures=dict(rank_measures(ranks, (1, 5), "top")))
        for kind, ranks in (("full vectors", found.full), ("impacts", found.impacts))
    }
    return QueryResults(system=system, data=folders.root.name, sections=sections)


def _print(figures: dict[str, dict[str, Any]], impacts: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("per cent [95 % interval]", "top-1", "top-5", "mean per class", box=None, pad_edge=False)
    for name, row in figures.items():
        cells = []
        for k in (1, 5):
            low, high = row[f"top_{k}_interval_95"]
            cells.append(escape(f"{row[f'top_{k}']:.1f} [{low:.1f}, {high:.1f}]"))
        table.add_row("full vectors" if name == "full" else name, *cells, f"{row['mean_per_class']:.1f}")
    out = console()
    out.print(table)
    out.print(f"impacts: {impacts}", highlight=False)
