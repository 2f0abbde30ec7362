"""`lexlip eval run`: TREC measures of a run file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.cli.new_output import Save, refuse_existing
from lexlip_infer.cli.shell import console


def evaluate_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="lines: query Q0 document rank score tag")],
    judgements: Annotated[Path, typer.Argument(metavar="QRELS", help="lines: query 0 document relevance")],
    measures: Annotated[
        list[str] | None,
        typer.Option("--measure", "-m", metavar="NAME", help="as ir-measures writes it, nDCG@10; may be repeated"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
    save: Save = None,
) -> None:
    """Print measures of a run, with 95 per cent intervals bootstrapped over queries.

    A judged query that the run leaves out counts as 0.
    """
    import numpy as np

    from lexlip_infer.evaluation.query_results import QueryResults, Section
    from lexlip_infer.evaluation.significance import bootstrap_interval
    from lexlip_infer.evaluation.trec_measures import DEFAULT_MEASURES, measure_run

    refuse_existing(save)
    found = measure_run(run, judgements, measures or DEFAULT_MEASURES)
    queries = list(next(iter(found.values())))
    values = {name: np.array([by_query[query] for query in queries]) for name, by_query in found.items()}
    intervals = {name: bootstrap_interval(column, np.arange(len(queries))) for name, column in values.items()}
    if save is not None:
        columns = {name: column.tolist() for name, column in values.items()}
        section = Section(queries=queries, clusters=queries, measures=columns)
        QueryResults(system=run.name, data=judgements.name, sections={"run": section}).save(save)
    figures = {name: (float(column.mean()), *intervals[name]) for name, column in values.items()}
    if as_json:
        rows = {name: {"mean": mean, "interval_95": [low, high]} for name, (mean, low, high) in figures.items()}
        typer.echo(json.dumps({"queries": len(queries), "measures": rows}, indent=2))
    else:
        _print(figures)


def _print(figures: dict[str, tuple[float, float, float]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("measure", "mean", "95 % interval", box=None, pad_edge=False)
    for name, (mean, low, high) in figures.items():
        table.add_row(name, f"{mean:.4f}", escape(f"[{low:.4f}, {high:.4f}]"))
    console().print(table)
