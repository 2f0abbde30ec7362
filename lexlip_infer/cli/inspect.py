"""`lexlip inspect`: what an output folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.shell import console

if TYPE_CHECKING:
    from rich.console import Console

    from lexlip_infer.retrieval.statistics import CollectionStatistics


def inspect(
    collection: Annotated[Path, typer.Argument(metavar="OUT", help="folder that lexlip-encode wrote")],
    terms: Annotated[int, typer.Option(metavar="N", min=0, help="most frequent terms to list")] = 20,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="bundle  [default: the one OUT was encoded with]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Print counts, active terms, the most frequent terms and sizes of OUT."""
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.pipeline.written_output import read_manifest
    from lexlip_infer.retrieval.collection import Collection
    from lexlip_infer.retrieval.statistics import collection_statistics

    manifest = read_manifest(collection)
    encoder = LexLIPEncoder.from_pretrained(manifest.settings.model if model is None else model)
    statistics = collection_statistics(Collection(collection, encoder.vocabulary), encoder.vocabulary, terms)
    if as_json:
        typer.echo(statistics.model_dump_json(indent=2))
        return
    _print(statistics, console())


def _print(statistics: CollectionStatistics, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    fewest, median, most = statistics.terms_per_document
    rows = {
        "model": f"{statistics.model}, top-{statistics.top_k}, impacts x{statistics.scale:g}",
        "state": "complete" if statistics.complete else "incomplete: the run was interrupted",
        "documents": f"{statistics.documents:,} ({statistics.failed:,} failed, {statistics.empty:,} empty)",
        "terms per document": f"min {fewest:,}, median {median:,.0f}, max {most:,}",
        "active terms": f"{statistics.active_terms:,} of {statistics.vocab_size:,}",
        "impacts": f"{statistics.impacts:,}, of 1 to {statistics.largest_impact}, sum {statistics.impact_sum:,}",
        "size": f"{statistics.size / 1e6:,.2f} MB in {statistics.part_files} part file(s)",
    }
    summary = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        summary.add_row(f"[dim]{name}[/dim]", escape(value))
    console.print(summary)
    if statistics.frequent_terms:
        console.print("\n[dim]most frequent terms, by share of documents[/dim]")
    width = max((len(term.term) for term in statistics.frequent_terms), default=0)
    for term in statistics.frequent_terms:
        share = term.documents / statistics.documents
        console.print(f"{escape(term.term):<{width}}  {share:6.1%}  {'█' * round(40 * share)}", highlight=False)
