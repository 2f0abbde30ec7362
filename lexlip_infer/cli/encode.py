"""`lexlip-encode`: images or texts to shards of Anserini impact vectors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexlip_infer.cli import shell
from lexlip_infer.cli.options import Backend, BundleOrHubId, Device, Head, Precision, QueryMode, Threads
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.pipeline.settings import EncodeRequest

app = shell.application("Encode images or texts to impact vectors for an inverted index.")

_Output = Annotated[
    Path, typer.Option(metavar="OUT", help="folder to write, continued if a run stopped there; - is stdout")
]

# What is read, and how.
_Images = Annotated[
    list[str] | None,
    typer.Option(metavar="IN", help="folder, pattern, .tar, .parquet, list of paths, URL; - is a list on stdin"),
]
_Texts = Annotated[
    list[str] | None,
    typer.Option(metavar="IN", help=".jsonl, .tsv, .csv, .txt, .parquet, .tar, or a folder of captioned images"),
]
_IdColumn = Annotated[str | None, typer.Option(metavar="NAME", help="column or field of the id")]
_ImageColumn = Annotated[str | None, typer.Option(metavar="NAME", help="column or field of the image")]
_TextColumn = Annotated[str | None, typer.Option(metavar="NAME", help="column or field of the text")]
_Prompt = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="the model's prompt before each text: query, ...  [default: document]"),
]
_Background = Annotated[str, typer.Option(metavar="COLOUR", help="behind transparent images")]
_Frames = Annotated[str, typer.Option(metavar="WHICH", help="of animations: first or all")]
_Truncated = Annotated[str, typer.Option(metavar="HOW", help="images that break off: fail or accept")]
_MaxMegapixels = Annotated[float, typer.Option(metavar="X", help="larger images fail")]

# What becomes of a document.
_TopK = Annotated[int | None, typer.Option(metavar="N", min=1, help="terms to keep  [default: the model's]")]
_QuantScale = Annotated[
    float | None,
    typer.Option(metavar="X", help="impact = round(scale * weight), at least 1  [default: the model's]"),
]

# How this machine works.
_BatchSize = Annotated[int, typer.Option(metavar="N", min=1, max=65536, help="images or texts at a time")]
_Lanes = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=256, help="batches at once  [default: one a thread, at most 16]"),
]
_DecodeWorkers = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, max=4096, help="processes that decode; 0: threads  [default: one a thread]"),
]
_DecodeTimeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=0.001, max=1e6, help="an image that takes longer fails")
]
_MemoryArena = Annotated[
    bool, typer.Option(help="keep freed CPU memory for the next batch; without, slower and smaller")
]
_CudaGraph = Annotated[bool, typer.Option(help="record and replay a CUDA graph for every shape of batch")]

# What is written, and how the work is shared.
_ItemsPerShard = Annotated[
    int, typer.Option(metavar="N", min=1, help="inputs per part file; a killed run repeats at most one")
]
_Compress = Annotated[str, typer.Option(metavar="HOW", help="part files: none or gz")]
_ShardId = Annotated[int, typer.Option(metavar="I", min=0, help="which of --shard-num runs this is, from 0")]
_ShardNum = Annotated[
    int, typer.Option(metavar="N", min=1, help="runs that share the input: each makes every N-th part file")
]
_Engine = Annotated[str, typer.Option(metavar="NAME", help="local, or ray for many machines (extra ray)")]
_Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="of a Ray cluster, or auto  [default: one on this machine]"),
]
_RayActors = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="copies of the model, --threads each  [default: all that fit]"),
]
_LogJson = Annotated[bool, typer.Option("--log-json", help="report on stderr in JSON, one object a line")]


@app.command(context_settings=shell.HELP_OPTIONS)
def encode(
    output: _Output,
    images: _Images = None,
    texts: _Texts = None,
    id_column: _IdColumn = None,
    image_column: _ImageColumn = None,
    text_column: _TextColumn = None,
    prompt: _Prompt = None,
    query_mode: QueryMode = None,
    background: _Background = "white",
    frames: _Frames = "first",
    truncated: _Truncated = "fail",
    max_megapixels: _MaxMegapixels = 178,
    model: BundleOrHubId = None,
    top_k: _TopK = None,
    quant_scale: _QuantScale = None,
    batch_size: _BatchSize = 16,
    threads: Threads = None,
    lanes: _Lanes = None,
    decode_workers: _DecodeWorkers = None,
    decode_timeout: _DecodeTimeout = 30.0,
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    head: Head = "auto",
    memory_arena: _MemoryArena = True,
    cuda_graph: _CudaGraph = False,
    items_per_shard: _ItemsPerShard = 5000,
    compress: _Compress = "none",
    shard_id: _ShardId = 0,
    shard_num: _ShardNum = 1,
    engine: _Engine = "local",
    address: _Address = None,
    ray_actors: _RayActors = None,
    log_json: _LogJson = False,
    version: shell.Version = False,
) -> None:
    """Encode images (or texts) into OUT/vectors/part-*.jsonl, ready for Anserini.

    Inputs that cannot be encoded are listed in OUT/failures.jsonl and the rest is written; the exit status is then 3.
    A run that was killed continues when the same command is given again.
    """
    given = dict(locals())  # every option by its name
    from lexlip_infer.cli.encode_report import STREAM, reporting
    from lexlip_infer.pipeline.encode import encode as run_request

    with shell.second_interrupt_ends(), reporting(log_json, output, "images" if images else "texts") as report:
        request = _request(given)
        with report.watching() as observer:
            encoded = run_request(request, sys.stdout.buffer if output == STREAM else output, observer)
        report.finished(encoded)
    if encoded.failed:
        raise typer.Exit(shell.FAILURES_LISTED)


def _request(given: dict[str, Any]) -> EncodeRequest:
    """From options, which are called as the request calls them, save what it takes as `source` and `scale`."""
    from lexlip_infer.pipeline.settings import EncodeRequest

    options = {name: value for name, value in given.items() if name not in ("output", "log_json", "version")}
    images, texts = options.pop("images"), options.pop("texts")
    if bool(images) == bool(texts):
        raise InputError("give either --images IN or --texts IN")
    return EncodeRequest(
        modality="image" if images else "text",
        source=images or texts,
        scale=options.pop("quant_scale"),
        **options,
    )


def run() -> None:
    """Console entry."""
    shell.run_application(app, "lexlip-encode")
