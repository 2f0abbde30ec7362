"""`lexlip inspect`: what an output folder or an index holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.options import AsJson, ModelOfOutput
from lexlip_infer.cli.shell import console, counted
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from lexlip_infer.collection.statistics import CollectionStatistics
    from lexlip_infer.search.description import IndexDescription


def inspect(
    collection: Annotated[Path, typer.Argument(metavar="OUT", help="folder that lexlip-encode or lexlip index wrote")],
    terms: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="most frequent terms to list  [default: 20; none of an index]"),
    ] = None,
    model: ModelOfOutput = None,
    as_json: AsJson = False,
) -> None:
    """Print counts, active terms, the most frequent terms and sizes of OUT; of an index, what it consists of."""
    from lexlip_infer.search.description import IndexDescription, describe_index
    from lexlip_infer.search.registry import find_engine

    found: CollectionStatistics | IndexDescription
    if find_engine(collection) is None:
        found = _statistics(collection, model, 20 if terms is None else terms)
    elif terms is None and model is None:
        found = describe_index(collection)
    else:
        raise InputError(f"{collection} is an index; --terms and --model are for what lexlip-encode wrote")
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    elif isinstance(found, IndexDescription):
        _print_index(found, console())
    else:
        _print(found, console())


def _statistics(collection: Path, model: str | None, terms: int) -> CollectionStatistics:
    from lexlip_infer.collection.collection import Collection
    from lexlip_infer.collection.statistics import collection_statistics

    return collection_statistics(Collection.open_output(collection, model=model, unfinished=True), terms)


def _print(statistics: CollectionStatistics, console: Console) -> None:
    from rich.markup import escape

    fewest, median, most = statistics.terms_per_document
    rows = {
        "model": f"{statistics.model}, top-{statistics.top_k}, impacts x{statistics.scale:g}",
        "state": "complete" if statistics.complete else "incomplete: the run was interrupted",
        "documents": f"{statistics.documents:,} ({statistics.failed:,} failed, {statistics.empty:,} empty)",
        "terms per document": f"min {fewest:,}, median {median:,.0f}, max {most:,}",
        "active terms": f"{statistics.active_terms:,} of {statistics.vocab_size:,}",
        "impacts": f"{statistics.impacts:,}, of 1 to {statistics.largest_impact}, sum {statistics.impact_sum:,}",
        "size": f"{statistics.size / 1e6:,.2f} MB in {counted(statistics.part_files, 'part file')}",
    }
    _print_rows(rows, console)
    if statistics.frequent_terms:
        console.print("\n[dim]most frequent terms, by share of documents[/dim]")
    width = max((len(term.term) for term in statistics.frequent_terms), default=0)
    for term in statistics.frequent_terms:
        share = term.documents / statistics.documents
        console.print(f"{escape(term.term):<{width}}  {share:6.1%}  {'█' * round(40 * share)}", highlight=False)


def _print_index(description: IndexDescription, console: Console) -> None:
    rows = {
        "index": f"engine {description.engine}, format {description.format_version}, by {description.written_by}",
        "model": description.model or "not known",
        "documents": f"{description.documents:,} ({description.deleted:,} deleted)",
        "segments": f"{description.segments:,}",
        "size": f"{description.size / 1e6:,.2f} MB",
    }
    if description.vocab_size is not None:
        rows["vocabulary"] = counted(description.vocab_size, "term")
    if description.postings is not None:
        rows["postings"] = f"{description.postings:,}"
    _print_rows(rows, console)


def _print_rows(rows: dict[str, str], console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    summary = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        summary.add_row(f"[dim]{name}[/dim]", escape(value))
    console.print(summary)
