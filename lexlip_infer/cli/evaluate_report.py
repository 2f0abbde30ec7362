"""What `lexlip eval retrieval` found: a table for people, a record for machines, and what every query got."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lexlip_infer.cli.shell import console

if TYPE_CHECKING:
    from lexlip_infer.evaluation.query_results import QueryResults
    from lexlip_infer.evaluation.small_scale import RankedQueries, Settings, SmallScale

__all__ = ["describe", "print_retrieval", "retrieval_record", "retrieval_results"]


def describe(settings: Settings) -> str:
    """How impacts were made, in words."""
    return (
        f"integers x{settings.scale:g}, image top-{settings.image_top_k}, text top-{settings.text_top_k}, exact search"
    )


def retrieval_record(found: SmallScale) -> dict[str, Any]:
    """Recall of impacts under the direction's name, of full vectors with `_full` behind it, then the rest."""
    record: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    ranks: dict[str, Any] = {}
    for direction in found.impacts:
        for name, ranked in ((direction, found.impacts[direction]), (f"{direction}_full", found.full[direction])):
            figures = asdict(ranked.recall()).items()
            record[name] = {key.replace("at_", "r@"): round(value, 2) for key, value in figures}
            intervals[name] = {f"r@{k}": [round(end, 2) for end in ends] for k, ends in ranked.intervals().items()}
            ranks[name] = {"mean": round(ranked.mean_rank(), 2), "median": round(ranked.median_rank(), 2)}
    return record | {"intervals_95": intervals, "ranks": ranks}


def retrieval_results(found: SmallScale, names: tuple[list[str], list[str]], system: str, data: str) -> QueryResults:
    """What every query got.

    Args:
        found: ranks.
        names: of photographs and of captions.
        system: what was measured, for people.
        data: what it was measured on, for people.
    """
    from lexlip_infer.evaluation.query_results import QueryResults, Section, rank_measures
    from lexlip_infer.evaluation.recall import CUTOFFS
    from lexlip_infer.evaluation.small_scale import DIRECTIONS

    images, captions = names
    sections = {}
    for direction, queries in zip(DIRECTIONS, (captions, images), strict=True):
        for kind, ranked in (("full vectors", found.full[direction]), ("impacts", found.impacts[direction])):
            clusters = [images[image] for image in ranked.clusters]
            measures = dict(rank_measures(ranked.ranks, CUTOFFS))
            sections[f"{_words(direction)}, {kind}"] = Section(queries=queries, clusters=clusters, measures=measures)
    return QueryResults(system=system, data=data, sections=sections)


def print_retrieval(found: SmallScale, impacts: str) -> None:
    """One row for each direction and kind of vectors."""
    from rich.table import Table

    table = Table("per cent [95 % interval]", "R@1", "R@5", "R@10", "mean rank", "median", box=None, pad_edge=False)
    for direction in found.full:
        table.add_row(f"{_words(direction)}, full vectors", *_cells(found.full[direction]))
        table.add_row(f"{_words(direction)}, impacts", *_cells(found.impacts[direction]))
    out = console()
    out.print(table)
    out.print(f"impacts: {impacts}", highlight=False)


def _cells(ranked: RankedQueries) -> list[str]:
    from rich.markup import escape

    figures = asdict(ranked.recall())
    cells = [f"{figures[f'at_{k}']:.1f} [{low:.1f}, {high:.1f}]" for k, (low, high) in ranked.intervals().items()]
    return [*map(escape, cells), f"{ranked.mean_rank():.1f}", f"{ranked.median_rank():g}"]


def _words(direction: str) -> str:
    return direction.replace("_", " ")
