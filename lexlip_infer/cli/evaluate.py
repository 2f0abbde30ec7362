"""`lexlip eval`: recall of a model on captioned photographs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.runtime_options import Backend, Device, Head, Precision
from lexlip_infer.cli.shell import Threads, console

if TYPE_CHECKING:
    from lexlip_infer.retrieval.evaluation import Direction
    from lexlip_infer.retrieval.recall import Recall


def evaluate(
    captions: Annotated[Path, typer.Argument(metavar="FILE", help="captions.jsonl with rows {image, captions, split}")],
    split: Annotated[str, typer.Option(metavar="NAME", help="rows to use")] = "dev",
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
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    head: Head = "auto",
) -> None:
    """Print recall at 1, 5 and 10, text to image and image to text.

    Un-pruned vectors under the model's similarity stand beside what a user gets: kept terms, integer impacts, exact
    search on an inverted index.
    """
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.impacts import QuantisationSettings
    from lexlip_infer.retrieval.evaluation import evaluate as measure
    from lexlip_infer.retrieval.evaluation import read_captioned_images

    encoder = LexLIPEncoder.from_pretrained(model, device, precision, threads, backend=backend, head=head)
    manifest = encoder.manifest
    data = read_captioned_images(captions, split)
    image_k, text_k = (
        min(k or default, manifest.vocab_size)
        for k, default in ((image_top_k, manifest.top_k.image), (text_top_k, manifest.top_k.text))
    )
    scale = manifest.quantisation.scale if quant_scale is None else quant_scale
    QuantisationSettings(scale)  # refuses a scale out of range now, not after everything is encoded
    images = encoder.encode_images(data.images, batch_size=16, top_k=manifest.vocab_size)
    texts = encoder.encode_texts(data.captions, top_k=manifest.vocab_size)
    directions = measure(encoder, images, texts, data, (image_k, text_k), scale)
    if not as_json:
        _print(*directions, f"integers x{scale:g}, image top-{image_k}, text top-{text_k}, exact search")
        return
    record = {
        "model": manifest.name,
        "model_fingerprint": encoder.bundle.fingerprint,
        "split": split,
        "images": len(data.images),
        "captions": len(data.captions),
        "top_k": {"image": image_k, "text": text_k},
        "scale": scale,
        "terms_per_image_full": round(images.nnz / len(images), 1),
        "terms_per_text_full": round(texts.nnz / len(texts), 1),
    }
    for name, direction in zip(("text_to_image", "image_to_text"), directions, strict=True):
        record[name] = _figures(direction.impacts)
        record[f"{name}_full"] = _figures(direction.full)
    typer.echo(json.dumps(record, indent=2))


def _figures(recall: Recall) -> dict[str, float]:
    return {name.replace("at_", "r@"): round(value, 2) for name, value in asdict(recall).items()}


def _print(to_image: Direction, to_text: Direction, impacts: str) -> None:
    from rich.table import Table

    table = Table("recall at 1/5/10, per cent", "text to image", "image to text", box=None, pad_edge=False)
    table.add_row("full vectors", str(to_image.full), str(to_text.full))
    table.add_row(impacts, str(to_image.impacts), str(to_text.impacts))
    console().print(table)
