"""`lexlip eval run` and `lexlip eval compare`: measures of a run file, and whether two systems differ."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.cli.options import AsJson, Save
from lexlip_infer.cli.shell import print_table, refuse_existing


def evaluate_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="lines: query Q0 document rank score tag")],
    judgements: Annotated[Path, typer.Argument(metavar="QRELS", help="lines: query 0 document relevance")],
    measures: Annotated[
        list[str] | None,
        typer.Option("--measure", "-m", metavar="NAME", help="as ir-measures writes it, nDCG@10; may be repeated"),
    ] = None,
    as_json: AsJson = False,
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
    columns = {name: [by_query[query] for query in queries] for name, by_query in found.items()}
    clusters = np.arange(len(queries))
    figures = {
        name: (float(np.mean(values)), *bootstrap_interval(np.array(values), clusters))
        for name, values in columns.items()
    }
    if save is not None:
        section = Section(queries=queries, clusters=queries, measures=columns)
        QueryResults(system=run.name, data=judgements.name, sections={"run": section}).save(save)
    if as_json:
        rows = {name: {"mean": mean, "interval_95": [low, high]} for name, (mean, low, high) in figures.items()}
        typer.echo(json.dumps({"queries": len(queries), "measures": rows}, indent=2))
        return
    cells = ((name, f"{mean:.4f}", f"[{low:.4f}, {high:.4f}]") for name, (mean, low, high) in figures.items())
    print_table(("measure", "mean", "95 % interval"), cells)


def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="of one system, as --save writes it")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="of another, on the same queries")],
    confidence: Annotated[float, typer.Option(metavar="X", help="of the intervals")] = 0.95,
    resamples: Annotated[int, typer.Option(metavar="N", min=100, max=10**7, help="draws and swaps")] = 10_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="of both")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print each measure of both, B less A with its bootstrap interval, and p of a paired randomisation test.

    Photographs are drawn and swapped with all their captions. p is two-sided and not corrected for the number of
    measures.
    """
    from lexlip_infer.evaluation.query_results import QueryResults, compare_systems

    one, other = QueryResults.load(first), QueryResults.load(second)
    found = compare_systems(one, other, confidence, resamples, seed)
    if as_json:
        settings = {"confidence": confidence, "resamples": resamples, "seed": seed}
        systems = {"first": one.system, "second": other.system}
        typer.echo(json.dumps(systems | settings | {"measures": [asdict(row) for row in found]}, indent=2))
        return
    typer.echo(f"A: {one.system}\nB: {other.system}")
    cells = []
    for row in found:
        figures = row.comparison
        means = (f"{figures.first:.4f}", f"{figures.second:.4f}", f"{figures.difference:+.4f}")
        interval = f"[{figures.interval[0]:+.4f}, {figures.interval[1]:+.4f}]"
        cells.append((row.section, row.measure, *means, interval, f"{figures.p_value:.4f}"))
    print_table(("task", "measure", "A", "B", "B - A", f"{confidence:.0%} interval", "p"), cells)
