"""`lexlip-encode`: a folder of images, or a file of texts, to shards of Anserini impact vectors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.runtime_options import Backend, Device, Head, Precision
from lexlip_infer.cli.shell import FAILURES_LISTED, HELP_OPTIONS, Threads, Version, application, run_application
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.bundle import Modality
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.pipeline.manifest import RunManifest, RunSettings
    from lexlip_infer.pipeline.run import Progress
    from lexlip_infer.pipeline.sources import Source

app = application("Encode images or texts to impact vectors for an inverted index.")


@app.command(context_settings=HELP_OPTIONS)
def encode(
    output: Annotated[Path, typer.Option(metavar="OUT", help="folder to write; continued if a run stopped there")],
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="folder of images, searched recursively")] = None,
    texts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="texts: .jsonl {id, text}, .tsv (id TAB text) or .txt")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="bundle folder or Hugging Face hub id  [default: the shipped lexlip-tiny]"),
    ] = None,
    top_k: Annotated[int | None, typer.Option(metavar="N", min=1, help="terms to keep  [default: the model's]")] = None,
    quant_scale: Annotated[
        float | None,
        typer.Option(metavar="X", help="impact = round(scale * weight), at least 1  [default: the model's]"),
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, max=65536, help="images or texts at a time")] = 16,
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    head: Head = "auto",
    memory_arena: Annotated[
        bool, typer.Option(help="keep freed CPU memory for the next batch; without, slower and smaller")
    ] = True,
    cuda_graph: Annotated[bool, typer.Option(help="record and replay a CUDA graph for every shape of batch")] = False,
    items_per_shard: Annotated[
        int, typer.Option(metavar="N", min=1, help="inputs per part file; a killed run repeats at most one")
    ] = 5000,
    version: Version = False,  # noqa: ARG001  (its callback does the work)
) -> None:
    """Encode images (or texts) into OUT/vectors/part-*.jsonl, ready for Anserini.

    Inputs that cannot be encoded are listed in OUT/failures.jsonl and the rest is written; the exit status is then 3.
    A run that was killed continues when the same command is given again.
    """
    source = _source(images, texts)
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.pipeline.run import encode_collection

    encoder = LexLIPEncoder.from_pretrained(
        model,
        device,
        precision,
        threads,
        backend=backend,
        head=head,
        memory_arena=memory_arena,
        cuda_graph=cuda_graph,
    )
    modality: Modality = "image" if images is not None else "text"
    path = images if images is not None else texts
    assert path is not None
    settings = _settings(encoder, source, modality, path, model, top_k, quant_scale, items_per_shard)
    try:
        with _progress(source.count, f"{modality}s") as progress:
            manifest = encode_collection(encoder, source, output, settings, batch_size, progress)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; the same command continues {output} where it stopped", err=True)
        raise typer.Exit(130) from None
    _report(manifest, output, source.passed_over)
    if manifest.failed:
        raise typer.Exit(FAILURES_LISTED)


def _source(images: Path | None, texts: Path | None) -> Source:
    if (images is None) == (texts is None):
        raise InputError("give either --images DIR or --texts FILE")
    from lexlip_infer.pipeline.sources import ImageFolder, TextFile

    if images is not None:
        return ImageFolder(images)
    assert texts is not None
    return TextFile(texts)


def _settings(
    encoder: LexLIPEncoder,
    source: Source,
    modality: Modality,
    path: Path,
    model: str | None,
    top_k: int | None,
    quant_scale: float | None,
    items_per_shard: int,
) -> RunSettings:
    from lexlip_infer.impacts import QuantisationSettings
    from lexlip_infer.pipeline.manifest import RunSettings

    manifest, runtime = encoder.manifest, encoder.path(modality)
    default_k = manifest.top_k.image if modality == "image" else manifest.top_k.text
    normalise = manifest.similarity == "cosine"
    scale = manifest.quantisation.scale if quant_scale is None else quant_scale
    quantisation = QuantisationSettings(scale, manifest.quantisation.cap, normalise)
    return RunSettings.model_validate(
        {
            "modality": modality,
            "source": _text(path.resolve()),
            "source_fingerprint": source.fingerprint,
            "source_count": source.count,
            "model": _text(Path(model).resolve()) if model is not None and Path(model).exists() else model,
            "model_name": manifest.name,
            "model_fingerprint": encoder.bundle.fingerprint,
            "top_k": min(default_k if top_k is None else top_k, manifest.vocab_size),
            "scale": quantisation.scale,
            "cap": quantisation.cap,
            "normalise": quantisation.normalise,
            "items_per_shard": items_per_shard,
            "device": runtime.device.partition(":")[0],
            "backend": runtime.backend,
            "precision": runtime.precision,
            "head": runtime.head,
        }
    )


def _text(path: Path) -> str:
    """A path that JSON can hold: bytes that are no UTF-8 stand in it as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def _progress(total: int, what: str) -> Iterator[Progress]:
    """A bar with rate, remaining time and failures on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[problems]}"),
    )
    with Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total, rate="", problems="")

        def update(done: int, failed: int) -> None:
            speed = bar.tasks[task].speed
            rate = f"{speed:.1f} {what}/s" if speed else ""
            bar.update(task, completed=done, rate=rate, problems=f"{failed} failed" if failed else "")

        yield update


def _report(manifest: RunManifest, output: Path, passed_over: str) -> None:
    size = sum(shard.size for shard in manifest.shards)
    parts = len(manifest.shards)
    typer.echo(
        f"{manifest.documents:,} {manifest.settings.modality}s in {parts} part file{'s' * (parts != 1)}, "
        f"{size / 1e6:.1f} MB: {output / 'vectors'}",
        err=True,
    )
    if passed_over:
        typer.echo(passed_over, err=True)
    empty = sum(shard.empty for shard in manifest.shards)
    if empty:
        typer.echo(f"{empty:,} had no positive term and got the placeholder term", err=True)
    if manifest.failed:
        typer.echo(f"{manifest.failed:,} failed, listed in {output / 'failures.jsonl'}", err=True)


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip-encode")
