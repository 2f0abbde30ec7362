"""`lexlip search`: an exact search over what `lexlip-encode` wrote."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.pipeline.manifest import RunSettings
    from lexlip_infer.retrieval.collection import Hit
    from lexlip_infer.sparse import SparseBatch
    from lexlip_kernels import ImpactMatrix

#: Terms of a hit that the table shows.
_SHOWN_TERMS = 6


def search(
    collection: Annotated[Path, typer.Argument(metavar="OUT", help="folder that lexlip-encode wrote")],
    query: Annotated[str | None, typer.Argument(help="what to look for, in words")] = None,
    image: Annotated[Path | None, typer.Option(help="look for what this image shows, instead of words")] = None,
    hits: Annotated[int, typer.Option(min=1, help="results")] = 10,
    model: Annotated[str | None, typer.Option(help="bundle  [default: the one OUT was encoded with]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads  [default: all available]")] = None,
) -> None:
    """Search OUT and print rank, score, file and the terms that matched, with their share of the score.

    The score is the integer dot product of the impacts of query and document, exactly as Anserini computes it. Where
    the output is no terminal, each hit is one line of four fields with tabs between them (rank, score, file, terms).
    """
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.pipeline.output_folder import read_manifest
    from lexlip_infer.retrieval.collection import Collection

    if (query is None) == (image is None) or (query is not None and not query.strip()):
        raise InputError("give either a query in words or --image FILE")
    settings = read_manifest(collection).settings
    encoder = LexLIPEncoder.from_pretrained(settings.model if model is None else model, threads=threads)
    if encoder.bundle.fingerprint != settings.model_fingerprint:
        raise InputError(
            f"{collection} was encoded with {settings.model_name} ({settings.model_fingerprint[:12]}), this is "
            f"{encoder.manifest.name} ({encoder.bundle.fingerprint[:12]}); pass the same bundle with --model"
        )
    if query is not None:
        batch = encoder.encode_texts([query], show_progress_bar=False)
    else:
        batch = encoder.encode_images([image or ""], show_progress_bar=False)
    results = Collection(collection, encoder.vocabulary).search(_impacts(batch, settings), hits, encoder.threads)[0]
    if as_json:
        for hit in results:
            typer.echo(json.dumps(asdict(hit), ensure_ascii=False))
    elif sys.stdout.isatty():
        _print(results, encoder, batch)
    else:
        for hit in results:
            typer.echo("\t".join((str(hit.rank), str(hit.score), _printable(hit.id), _matching(hit))))
    if not results:
        typer.echo("nothing found: no document shares a term with the query", err=True)


def _impacts(batch: SparseBatch, settings: RunSettings) -> ImpactMatrix:
    from lexlip_infer.impacts import QuantisationSettings, quantise

    return quantise(batch, QuantisationSettings(settings.scale, settings.cap, settings.normalise))


def _print(results: list[Hit], encoder: LexLIPEncoder, batch: SparseBatch) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    words = "  ".join(f"{term} {weight:.2f}" for term, weight in encoder.decode(batch, 8)[0])
    console.print(f"[dim]query terms:[/dim] {escape(words) or 'none: the query holds no known word'}")
    if not results:
        return
    table = Table("rank", "score", "file", "matching terms", box=None, pad_edge=False)
    for hit in results:
        table.add_row(str(hit.rank), str(hit.score), escape(_printable(hit.id)), escape(_matching(hit)))
    console.print(table)


def _matching(hit: Hit) -> str:
    return "  ".join(f"{term} {share}" for term, share in hit.terms[:_SHOWN_TERMS])


def _printable(name: str) -> str:
    """A file name may hold tabs, line ends and terminal commands; --json gives it as it is."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: match[0].encode("unicode_escape").decode(), name)
