"""`lexlip eval compare`: whether two systems differ on the same queries."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.shell import console

if TYPE_CHECKING:
    from lexlip_infer.evaluation.paired_systems import PairedMeasure


def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="of one system, as --save writes it")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="of another, on the same queries")],
    confidence: Annotated[float, typer.Option(metavar="X", help="of the intervals")] = 0.95,
    resamples: Annotated[int, typer.Option(metavar="N", min=100, max=10**7, help="draws and swaps")] = 10_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="of both")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Print each measure of both, B less A with its bootstrap interval, and p of a paired randomisation test.

    Photographs are drawn and swapped with all their captions. p is two-sided and not corrected for the number of
    measures.
    """
    from lexlip_infer.evaluation.paired_systems import compare_systems
    from lexlip_infer.evaluation.query_results import QueryResults

    one, other = QueryResults.load(first), QueryResults.load(second)
    found = compare_systems(one, other, confidence, resamples, seed)
    if as_json:
        settings = {"confidence": confidence, "resamples": resamples, "seed": seed}
        systems = {"first": one.system, "second": other.system}
        typer.echo(json.dumps(systems | settings | {"measures": [asdict(row) for row in found]}, indent=2))
        return
    typer.echo(f"A: {one.system}\nB: {other.system}")
    _print(found, confidence)


def _print(found: list[PairedMeasure], confidence: float) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("task", "measure", "A", "B", "B - A", f"{confidence:.0%} interval", "p", box=None, pad_edge=False)
    for row in found:
        figures = row.comparison
        low, high = figures.interval
        table.add_row(
            row.section,
            row.measure,
            f"{figures.first:.4f}",
            f"{figures.second:.4f}",
            f"{figures.difference:+.4f}",
            escape(f"[{low:+.4f}, {high:+.4f}]"),
            f"{figures.p_value:.4f}",
        )
    console().print(table)
