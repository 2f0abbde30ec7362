"""`lexlip-encode`: images or texts to shards of Anserini impact vectors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.cli.runtime_options import Backend, Device, Head, Precision
from lexlip_infer.cli.shell import (
    FAILURES_LISTED,
    HELP_OPTIONS,
    Threads,
    Version,
    application,
    run_application,
    second_interrupt_ends,
)
from lexlip_infer.errors import InputError

app = application("Encode images or texts to impact vectors for an inverted index.")


@app.command(context_settings=HELP_OPTIONS)
def encode(
    output: Annotated[
        Path, typer.Option(metavar="OUT", help="folder to write, continued if a run stopped there; - is stdout")
    ],
    images: Annotated[
        list[str] | None,
        typer.Option(metavar="IN", help="folder, pattern, .tar, .parquet, list of paths, URL; - is a list on stdin"),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(metavar="IN", help=".jsonl, .tsv, .csv, .txt, .parquet, .tar, or a folder of captioned images"),
    ] = None,
    id_column: Annotated[str | None, typer.Option(metavar="NAME", help="column or field of the id")] = None,
    image_column: Annotated[str | None, typer.Option(metavar="NAME", help="column or field of the image")] = None,
    text_column: Annotated[str | None, typer.Option(metavar="NAME", help="column or field of the text")] = None,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="the model's prompt before each text: query, ...  [default: document]"),
    ] = None,
    background: Annotated[str, typer.Option(metavar="COLOUR", help="behind transparent images")] = "white",
    frames: Annotated[str, typer.Option(metavar="WHICH", help="of animations: first or all")] = "first",
    truncated: Annotated[str, typer.Option(metavar="HOW", help="images that break off: fail or accept")] = "fail",
    max_megapixels: Annotated[float, typer.Option(metavar="X", help="larger images fail")] = 178,
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
    lanes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=256, help="batches at once  [default: one a thread, at most 16]"),
    ] = None,
    decode_workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=4096, help="processes that decode; 0: threads  [default: one a thread]"),
    ] = None,
    decode_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.001, max=1e6, help="an image that takes longer fails")
    ] = 30.0,
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
    compress: Annotated[str, typer.Option(metavar="HOW", help="part files: none or gz")] = "none",
    shard_id: Annotated[int, typer.Option(metavar="I", min=0, help="which of --shard-num runs this is, from 0")] = 0,
    shard_num: Annotated[
        int, typer.Option(metavar="N", min=1, help="runs that share the input: each makes every N-th part file")
    ] = 1,
    engine: Annotated[str, typer.Option(metavar="NAME", help="local, or ray for many machines (extra ray)")] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="of a Ray cluster, or auto  [default: one on this machine]"),
    ] = None,
    ray_actors: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="copies of the model, --threads each  [default: all that fit]"),
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="report on stderr in JSON, one object a line")] = False,
    version: Version = False,  # noqa: ARG001  (its callback does the work)
) -> None:
    """Encode images (or texts) into OUT/vectors/part-*.jsonl, ready for Anserini.

    Inputs that cannot be encoded are listed in OUT/failures.jsonl and the rest is written; the exit status is then 3.
    A run that was killed continues when the same command is given again.
    """
    from lexlip_infer.cli.encode_report import STREAM, reporting
    from lexlip_infer.pipeline.encode import encode as run_request
    from lexlip_infer.pipeline.settings import EncodeRequest

    with second_interrupt_ends(), reporting(log_json, output, "images" if images else "texts") as report:
        if bool(images) == bool(texts):
            raise InputError("give either --images IN or --texts IN")
        request = EncodeRequest(
            modality="image" if images else "text",
            source=images or texts or [],
            model=model,
            device=device,
            precision=precision,
            backend=backend,
            head=head,
            threads=threads,
            memory_arena=memory_arena,
            cuda_graph=cuda_graph,
            top_k=top_k,
            scale=quant_scale,
            batch_size=batch_size,
            lanes=lanes,
            decode_workers=decode_workers,
            decode_timeout=decode_timeout,
            items_per_shard=items_per_shard,
            compress=compress,
            shard_id=shard_id,
            shard_num=shard_num,
            id_column=id_column,
            image_column=image_column,
            text_column=text_column,
            prompt=prompt,
            background=background,
            frames=frames,
            truncated=truncated,
            max_megapixels=max_megapixels,
            engine=engine,
            address=address,
            ray_actors=ray_actors,
        )
        with report.watching() as observer:
            encoded = run_request(request, sys.stdout.buffer if output == STREAM else output, observer)
        report.finished(encoded)
    if encoded.failed:
        raise typer.Exit(FAILURES_LISTED)


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip-encode")
