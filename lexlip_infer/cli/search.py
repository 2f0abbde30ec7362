"""`lexlip search`: an exact search over what `lexlip-encode` wrote."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.shell import Threads
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.pipeline.manifest import RunManifest
    from lexlip_infer.retrieval.collection import Hit
    from lexlip_infer.sparse import SparseBatch

#: Terms of a hit that the table shows.
_SHOWN_TERMS = 6


def search(
    collection: Annotated[Path, typer.Argument(metavar="OUT", help="folder that lexlip-encode wrote")],
    words: Annotated[list[str] | None, typer.Argument(metavar="WORDS", help="what to look for")] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="look for what this image shows, instead of words")
    ] = None,
    hits: Annotated[int, typer.Option(metavar="N", min=1, help="results")] = 10,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="bundle  [default: the one OUT was encoded with]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    threads: Threads = None,
) -> None:
    """Search OUT and print rank, score, file and the terms that matched, with their share of the score.

    The score is the integer dot product of the impacts of query and document, exactly as Anserini computes it. Where
    the output is no terminal, each hit is one line of four fields with tabs between them (rank, score, file, terms).
    """
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.impacts import quantise
    from lexlip_infer.pipeline.written_output import read_manifest
    from lexlip_infer.retrieval.collection import Collection

    query = " ".join(words or ())
    if bool(words) == (image is not None) or (image is None and not query.strip()):
        raise InputError("give either a query in words or --image FILE")
    manifest = read_manifest(collection)
    settings = manifest.settings
    # One query is encoded long before a GPU is ready for it.
    encoder = LexLIPEncoder.from_pretrained(settings.model if model is None else model, "cpu", threads=threads)
    if encoder.bundle.fingerprint != settings.model_fingerprint:
        raise InputError(
            f"{collection} was encoded with {settings.model_name} ({settings.model_fingerprint[:12]}), this is "
            f"{encoder.manifest.name} ({encoder.bundle.fingerprint[:12]}); pass the same bundle with --model"
        )
    batch = _encode(encoder, query if image is None else image)
    impacts = quantise(batch, settings.quantisation)
    results = Collection(collection, encoder.vocabulary).search(impacts, hits, encoder.threads)[0]
    if not manifest.complete:
        typer.echo(f"{collection} is incomplete: {_progress(manifest)}", err=True)
    if as_json:
        for hit in results:
            typer.echo(json.dumps(asdict(hit), ensure_ascii=False))
    elif results and sys.stdout.isatty():
        _print(results, encoder, batch)
    else:
        for hit in results:
            typer.echo("\t".join((str(hit.rank), str(hit.score), _printable(hit.id), _matching(hit))))
    if not batch.nnz and image is None:
        typer.echo("nothing found: the query holds no word the model knows", err=True)
    elif not results:
        typer.echo("nothing found: no document shares a term with the query", err=True)


def _encode(encoder: LexLIPEncoder, query: str | Path) -> SparseBatch:
    from lexlip_infer.inputs.images import load_image

    if isinstance(query, str):
        return encoder.encode_texts([query], show_progress_bar=False)
    # Not encode_images, whose messages count positions in a list.
    return encoder.encode_pixels(encoder.preprocess(load_image(query))[None])


def _progress(manifest: RunManifest) -> str:
    done = manifest.documents + manifest.failed
    return f"{done:,} {manifest.settings.modality}s are encoded so far; run the same lexlip-encode command to finish"


def _print(results: list[Hit], encoder: LexLIPEncoder, batch: SparseBatch) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    words = "  ".join(f"{term} {weight:.2f}" for term, weight in encoder.decode(batch, 8)[0])
    console.print(f"[dim]query terms:[/dim] {escape(words)}")
    table = Table("rank", "score", "file", "matching terms", box=None, pad_edge=False)
    for hit in results:
        table.add_row(str(hit.rank), str(hit.score), escape(_printable(hit.id)), escape(_matching(hit)))
    console.print(table)


def _matching(hit: Hit) -> str:
    return "  ".join(f"{term} {share}" for term, share in hit.terms[:_SHOWN_TERMS])


def _printable(name: str) -> str:
    """A file name may hold tabs, line ends and terminal commands; --json gives it as it is."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: match[0].encode("unicode_escape").decode(), name)
