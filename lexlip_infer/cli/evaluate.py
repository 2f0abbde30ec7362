"""`lexlip eval retrieval`: recall of a model on captioned photographs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.evaluate_report import describe, print_retrieval, retrieval_record, retrieval_results
from lexlip_infer.cli.evaluate_sweeps import check_plots, draw_sweeps
from lexlip_infer.cli.new_output import Save, refuse_existing
from lexlip_infer.cli.runtime_options import Backend, Device, Head, Precision
from lexlip_infer.cli.shell import Threads
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.datasets import CaptionedImages


def evaluate(
    captions: Annotated[
        Path, typer.Argument(metavar="FILE", help="captions.jsonl, Karpathy's .json or an official .tsv")
    ],
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="rows to use  [default: dev; test of Karpathy's JSON]")
    ] = None,
    images_folder: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="image paths are relative to  [default: FILE's]")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="of the literature: coco-5k, coco-1k, flickr30k or flickr8k")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="equal parts searched each for itself and averaged")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="bundle  [default: the shipped lexlip-tiny]")
    ] = None,
    image_top_k: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="terms of an image  [default: the model's]")
    ] = None,
    text_top_k: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="terms of a text  [default: the model's]")
    ] = None,
    quant_scale: Annotated[
        float | None, typer.Option(metavar="X", help="of the quantiser  [default: the model's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
    save: Save = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="DIR", help="draw recall against kept terms, bits and time of a search")
    ] = None,
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

    refuse_existing(save)
    check_plots(plot)
    data, parts = _counted(read_captions_file(captions, split, images_folder), protocol, folds)
    names = None if save is None else data.names()  # refuses what is listed twice, before anything is encoded
    encoder = LexLIPEncoder.from_pretrained(model, device, precision, threads, backend=backend, head=head)
    manifest = encoder.manifest
    settings = replace(Settings.of(manifest, image_top_k, text_top_k, quant_scale), folds=parts)
    images = encoder.encode_images(data.images, batch_size=16, top_k=manifest.vocab_size)
    texts = encoder.encode_texts(data.captions, top_k=manifest.vocab_size)
    found = evaluate_small_scale(encoder, images, texts, data, settings)
    about = {
        "model": manifest.name,
        "model_fingerprint": encoder.bundle.fingerprint,
        "data": captions.name,
        "split": split or default_split(captions),
        "protocol": protocol,
        "folds": parts,
        "images": len(data.images),
        "captions": len(data.captions),
        "top_k": {"image": settings.image_top_k, "text": settings.text_top_k},
        "scale": settings.scale,
        "terms_per_image_full": round(images.nnz / len(images), 1),
        "terms_per_text_full": round(texts.nnz / len(texts), 1),
    }
    if save is not None and names is not None:
        retrieval_results(found, names, f"{manifest.name}, {describe(settings)}", captions.name).save(save)
    if plot is not None:
        about |= draw_sweeps(encoder, images, texts, data, settings, plot)
    if as_json:
        typer.echo(json.dumps(about | retrieval_record(found), indent=2))
    else:
        print_retrieval(found, describe(settings))


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
