"""What an experiment has finished, step by step: a killed run, started again, goes on after its last finished step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lexlip_infer.bench.large_scale.settings import Settings
from lexlip_infer.errors import OutputError
from lexlip_infer.files import locked, unwritable, write_whole

__all__ = ["JOURNAL", "Journal", "Record"]

JOURNAL = "journal.json"
_FORMAT_VERSION = 1

Facts = dict[str, Any]


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
    changes = [f"{name} was {before.get(name)}, now {now[name]}" for name in now if before.get(name) != now[name]]
    if changes:
        raise OutputError(
            f"{folder}: holds an experiment with other {what} ({'; '.join(changes)}), and all figures of a report come "
            "from one machine and one set of settings; name a new folder"
        )
