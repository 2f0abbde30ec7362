"""Two systems on the same queries: every task and measure that they have in common, compared."""

from __future__ import annotations

from dataclasses import dataclass

from lexlip_infer.errors import InputError
from lexlip_infer.evaluation.query_results import QueryResults, Section
from lexlip_infer.evaluation.significance import RESAMPLES, SEED, Comparison, compare_paired

__all__ = ["PairedMeasure", "compare_systems"]


@dataclass(frozen=True, slots=True)
class PairedMeasure:
    """A measure of a task, and how the two systems differ in it."""

    section: str
    measure: str
    comparison: Comparison


def compare_systems(
    first: QueryResults,
    second: QueryResults,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[PairedMeasure]:
    """Compare what is in both.

    Args:
        first: of the first system.
        second: of the second; its queries may stand in another order.
        confidence: of the intervals.
        resamples: draws of the bootstrap, and swaps of the test.
        seed: of both.

    Raises:
        InputError: they have nothing in common, or were not given the same queries.
    """
    found = []
    for name, section in first.sections.items():
        if name in second.sections:
            other = second.sections[name]
            _check_queries(name, section, other)
            for measure in section.measures:
                if measure in other.measures:
                    pair = (section.aligned(section.queries, measure), other.aligned(section.queries, measure))
                    result = compare_paired(*pair, section.cluster_numbers(), confidence, resamples, seed)
                    found.append(PairedMeasure(name, measure, result))
    if not found:
        tasks = [", ".join(map(repr, results.sections)) or "nothing" for results in (first, second)]
        raise InputError(f"no measure of a task is in both: one file has {tasks[0]}, the other {tasks[1]}")
    return found


def _check_queries(name: str, first: Section, second: Section) -> None:
    alone = set(first.queries) ^ set(second.queries)
    if alone:
        raise InputError(
            f"{name}: queries in one file alone: {len(alone)}, such as {min(alone)!r}; expected the same queries"
        )
    if dict(zip(first.queries, first.clusters, strict=True)) != dict(zip(second.queries, second.clusters, strict=True)):
        raise InputError(f"{name}: the two files put queries into different clusters; expected the same data")
