"""What every single query got, in a file, and whether two systems differ in it.

`lexlip eval --save` writes the file, `lexlip eval compare` reads two of them. It is JSON: `format`, `version`,
`system`, `data`, and `sections` by name, each with `queries`, `clusters`, `measures`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lexlip_infer.errors import InputError
from lexlip_infer.evaluation.ranks import Ranks
from lexlip_infer.evaluation.significance import RESAMPLES, SEED, Comparison, compare_paired
from lexlip_infer.files import first_fault, new_file
from lexlip_infer.inputs.lines import read_given

#: Bytes of a file of results: half a million queries.
_LARGEST = 2**26


class Section(BaseModel):
    """One task of a system.

    Attributes:
        queries: Q ids, no two alike.
        clusters: Q names; queries of one name are not independent (the captions of one photograph).
        measures: by name, Q values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    queries: list[str]
    clusters: list[str]
    measures: dict[str, list[float]]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        lengths = {len(self.queries), len(self.clusters), *map(len, self.measures.values())}
        if len(lengths) != 1 or lengths == {0} or len(set(self.queries)) != len(self.queries):
            raise ValueError("queries must be distinct, clusters and measures as many, and at least one")
        return self

    @classmethod
    def of_ranks(
        cls, queries: list[str], clusters: list[str], ranks: Ranks, cutoffs: Iterable[int], name: str = "R"
    ) -> Self:
        """Measures of every query from its rank: found at each cutoff (0 or 1), and the rank itself."""
        measures = {f"{name}@{cutoff}": (ranks <= cutoff).astype(float).tolist() for cutoff in cutoffs}
        measures["rank"] = ranks.astype(float).tolist()
        return cls(queries=queries, clusters=clusters, measures=measures)

    def aligned(self, queries: Iterable[str], measure: str) -> npt.NDArray[np.float64]:
        """The values of a measure, in the order of `queries`, which must be ours."""
        values = dict(zip(self.queries, self.measures[measure], strict=True))
        return np.array([values[query] for query in queries])

    def cluster_numbers(self) -> npt.NDArray[np.int64]:
        """(Q,), equal where the names are."""
        numbers: npt.NDArray[np.int64] = np.unique(self.clusters, return_inverse=True)[1]
        return numbers


class QueryResults(BaseModel):
    """All tasks of a system.

    Attributes:
        system: what was measured, for people.
        data: what it was measured on, for people.
        sections: by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["lexlip-query-results"] = "lexlip-query-results"
    version: Literal[1] = 1
    system: str
    data: str
    sections: dict[str, Section]

    def save(self, file: Path) -> None:
        """Write JSON.

        Raises:
            OutputError: the file exists or cannot be written.
        """
        with new_file(file) as stream:
            stream.write(self.model_dump_json().encode() + b"\n")

    @classmethod
    def load(cls, file: Path) -> QueryResults:
        """Read what `save` wrote.

        Raises:
            InputError: it cannot be read or is something else.
        """
        try:
            return cls.model_validate_json(read_given(file, _LARGEST))
        except ValidationError as error:
            raise InputError(f"{file}: not what lexlip eval --save writes ({first_fault(error)})") from None


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
