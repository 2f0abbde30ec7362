"""What an experiment has on disk, and what it has finished: no other module knows these names.

OUT/journal.json             settings and finished steps: a killed run, started again, goes on after the last of them
OUT/report.md, results.json, *.png
OUT/data/queries.json        texts of the queries, their relevant documents, terms of the vocabulary
OUT/data/DOCUMENTS/          documents of one kind, until every system that indexes them has done so
OUT/data/DOCUMENTS.queries.* the queries in the form of that kind
OUT/indexes/SYSTEM/          what the system built
OUT/rankings/SYSTEM.json     its ten best documents of each query
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer.bench.large_scale.settings import Settings
from lexlip_infer.collection.manifest import differences
from lexlip_infer.errors import OutputError
from lexlip_infer.files import locked, unwritable, write_whole
from lexlip_infer.search.engine import Ranking
from lexlip_kernels import ImpactMatrix

JOURNAL = "journal.json"
#: In the folder of the documents that are texts: lines {"id", "text"}.
TEXTS = "texts.jsonl"

_FORMAT_VERSION = 1

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExperimentFiles:
    """Paths of an experiment.

    Attributes:
        root: its folder.
    """

    root: Path

    @property
    def data(self) -> Path:
        """Of everything prepared."""
        return self.root / "data"

    @property
    def queries(self) -> Path:
        """Texts of the queries, relevant ids, vocabulary."""
        return self.data / "queries.json"

    def weights(self, modality: str) -> Path:
        """Un-pruned vectors of "images" or "texts" of the test collection."""
        return self.data / f"{modality}.npz"

    def documents(self, kind: str) -> Path:
        """A folder of prepared documents."""
        return self.data / kind

    def query_vectors(self, kind: str) -> Path:
        """Queries for documents of that kind; texts are in `queries` instead."""
        return self.data / f"{kind}.queries.{'npy' if kind == 'vectors' else 'npz'}"

    def index(self, system: str) -> Path:
        """What the system built: a folder or a file of its own making."""
        return self.root / "indexes" / system

    def ranking(self, system: str) -> Path:
        """Its best documents of each query."""
        return self.root / "rankings" / f"{system}.json"

    def read_queries(self) -> dict[str, Any]:
        """`texts`, `relevant` and `terms`."""
        found: dict[str, Any] = json.loads(self.queries.read_bytes())
        return found


def save_impacts(path: Path, matrix: ImpactMatrix) -> None:
    """Write a matrix as .npz."""
    arrays: dict[str, npt.NDArray[np.integer[Any]]] = {
        "indptr": matrix.indptr,
        "indices": matrix.indices,
        "impacts": matrix.impacts,
        "vocab_size": np.array(matrix.vocab_size),
    }
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_impacts(path: Path) -> ImpactMatrix:
    """Read what `save_impacts` wrote."""
    with np.load(path) as arrays:
        return ImpactMatrix(arrays["indptr"], arrays["indices"], arrays["impacts"], int(arrays["vocab_size"]))


def write_ranking(path: Path, ranking: Ranking) -> None:
    """Write ids and scores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scores: Sequence[list[float]] = [row.tolist() for row in ranking.scores]
    write_whole(path, json.dumps({"ids": ranking.ids, "scores": scores}, ensure_ascii=False).encode())


def read_ranking(path: Path) -> Ranking:
    """Read what `write_ranking` wrote."""
    found = json.loads(path.read_bytes())
    return Ranking(found["ids"], [np.array(row, np.float64) for row in found["scores"]])


def read_texts(folder: Path) -> tuple[list[str], list[str]]:
    """Ids and texts that `write_texts` wrote."""
    with (folder / TEXTS).open(encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    return [document["id"] for document in documents], [document["text"] for document in documents]


class Record(BaseModel):
    """`journal.json`.

    Attributes:
        format_version: of this file.
        settings: of the experiment.
        machine: what it runs on.
        steps: what each finished step has found out.
    """

    model_config = ConfigDict(extra="forbid")

    format_version: int = _FORMAT_VERSION
    settings: Settings
    machine: Facts
    steps: dict[str, Facts] = Field(default_factory=dict)


class Journal:
    """The journal of a folder, held by one process. Build it with `open`."""

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, settings: Settings, machine: Facts) -> Iterator[Journal]:
        """Begin or continue an experiment, and keep other processes out of its folder.

        Raises:
            OutputError: the folder holds something else, another experiment, one begun on another machine or with
                other versions, or is in use or not writable.
        """
        with contextlib.ExitStack() as held:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(folder, f"{folder}: another experiment runs in it"))
            except OutputError:
                raise
            except OSError as error:
                raise unwritable(folder, error) from None
            journal = cls(folder, _record(folder, settings, machine))
            journal.write()
            yield journal

    def __init__(self, folder: Path, record: Record) -> None:
        self._path = folder / JOURNAL
        self.record = record

    def step(self, name: str, work: Callable[[], Facts]) -> Facts:
        """What the step found out: from the journal, or by doing it now."""
        if name not in self.record.steps:
            found = work()
            self.record.steps[name] = found
            self.write()
        return self.record.steps[name]

    def write(self) -> None:
        """Put the journal on disk.

        Raises:
            OutputError: it cannot be written.
        """
        write_whole(self._path, self.record.model_dump_json(indent=1).encode() + b"\n")


def _record(folder: Path, settings: Settings, machine: Facts) -> Record:
    path = folder / JOURNAL
    if not path.exists():
        if any(file.name != f".{JOURNAL}.partial" for file in folder.iterdir()):
            raise OutputError(f"{folder}: exists and holds no experiment; name a new folder")
        return Record(settings=settings, machine=machine)
    try:
        record = Record.model_validate_json(path.read_bytes())
    except (pydantic.ValidationError, OSError):
        raise OutputError(f"{path}: not as this version writes it; name a new folder") from None
    _check_same(folder, "settings", record.settings.model_dump(mode="json"), settings.model_dump(mode="json"))
    _check_same(folder, "machine", _lasting(record.machine), _lasting(machine))
    return record


def _lasting(machine: Facts) -> Facts:
    """All but the load, and the revision of a checkout, which figures name but do not hang on."""
    return {name: value for name, value in machine.items() if name not in ("load_average_1min", "revision")}


def _check_same(folder: Path, what: str, before: Facts, now: Facts) -> None:
    if changes := differences(before, now):
        raise OutputError(
            f"{folder}: holds an experiment with other {what} ({changes}), and all figures of a report come "
            "from one machine and one set of settings; name a new folder"
        )
