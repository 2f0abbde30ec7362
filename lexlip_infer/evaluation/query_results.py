"""What every single query got, in a file: what `lexlip eval --save` writes and `lexlip eval compare` reads.

It is JSON: `format`, `version`, `system`, `data`, and `sections` by name, each with `queries`, `clusters`, `measures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lexlip_infer.errors import InputError
from lexlip_infer.evaluation.ranks import Ranks
from lexlip_infer.files import first_fault, new_file

__all__ = ["QueryResults", "Section", "rank_measures"]


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
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror})") from None
        except ValidationError as error:
            raise InputError(f"{file}: not what lexlip eval --save writes ({first_fault(error)})") from None


def rank_measures(ranks: Ranks, cutoffs: Iterable[int], name: str = "R") -> Mapping[str, list[float]]:
    """Measures of every query from its rank: found at each cutoff (0 or 1), and the rank itself."""
    measures = {f"{name}@{cutoff}": (ranks <= cutoff).astype(float).tolist() for cutoff in cutoffs}
    return measures | {"rank": ranks.astype(float).tolist()}
