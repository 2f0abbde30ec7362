"""What a checkpoint says of its training: written by the trainer and its tools, understood by export and model card.

It lies in a checkpoint's `training.json`. Records from before they had a version are read, of both trainers that there
were: what they lack is None, what they call otherwise is translated, and what nobody here knows is kept.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lexlip_infer.files import first_fault
from lexlip_kernels.errors import BundleError

#: Of the records that are written; those without one are version 0.
RECORD_VERSION = 1

_PACKAGES = ("lexlip-infer", "torch", "timm", "transformers", "accelerate", "tokenizers", "numpy")
_SIDES = {"text_to_image": "t2i", "image_to_text": "i2t"}


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class Evaluation(_Entry):
    """A line of the log that holds recalls on the development split.

    Attributes:
        epoch: passes over the training pairs before it began.
        step: optimiser steps taken; None in old records of the recipe.
        ranking: what was ranked: "impacts", integers of the kept terms in an index; "vectors", by cosine.
        text_to_image: recall at 1, 5 and 10 in per cent.
        image_to_text: the same.
        dev_sum: of all six; the checkpoint with the largest is `best`.
    """

    epoch: int | None = None
    step: int | None = None
    ranking: Literal["impacts", "vectors"]
    text_to_image: tuple[float, float, float]
    image_to_text: tuple[float, float, float]
    dev_sum: float

    @model_validator(mode="before")
    @classmethod
    def _any_spelling(cls, line: Any) -> Any:
        """Recalls are columns of their own (`t2i_1`) in a log, and "20.2/47.5/61.0" in those of the old recipe."""
        if not isinstance(line, Mapping):
            return line
        # The old recipe ranked vectors; so does a dense model, which has no terms to count.
        values = {"ranking": "impacts" if "dev_terms_image" in line else "vectors"} | dict(line)
        for name, short in _SIDES.items():
            if f"{short}_1" in line:
                values[name] = tuple(line[f"{short}_{k}"] for k in (1, 5, 10))
            elif isinstance(line.get(name), str):
                values[name] = tuple(line[name].split("/"))
        return values


class TrainingRecord(_Entry):
    """How weights were made.

    Attributes:
        record_version: see `RECORD_VERSION`.
        notice: terms of use of data and weights; None where nobody said any.
        command: that made the weights, its paths cut to their last part.
        settings: resolved settings of the run.
        selected: the log's line of the step that the checkpoint is of.
        log: all lines up to it.
        continued_from: the record of the checkpoint that the run began with, without its log.
        average_of: records of the checkpoints that these weights are the mean of.
        all_continued_from: what all of those went on from.
        resized: changes of the image size after training.
    """

    record_version: int = Field(default=0, ge=0, le=RECORD_VERSION)
    notice: str | None = None
    command: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    selected: dict[str, Any] | None = None
    log: tuple[dict[str, Any], ...] = ()
    continued_from: TrainingRecord | None = None
    average_of: tuple[TrainingRecord, ...] = ()
    all_continued_from: TrainingRecord | None = None
    resized: tuple[dict[str, Any], ...] = ()

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> TrainingRecord:
        """The record in a checkpoint's `training.json`.

        Raises:
            BundleError: it is of a later version, or no record.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise BundleError(
                f"training.json: {first_fault(error)}; expected a record of version {RECORD_VERSION} or earlier"
            ) from None

    def selection(self) -> Evaluation | None:
        """Recalls of these weights; None where they were not measured, or at another image size."""
        return None if self.resized or self.selected is None else _evaluation(self.selected)

    def runs(self) -> tuple[TrainingRecord, ...]:
        """The runs whose logs tell how the weights came about: this one, or those that were averaged."""
        return self.average_of or (self,)

    def evaluations(self) -> list[Evaluation]:
        """The log's lines with recalls, in order."""
        return [found for line in self.log if (found := _evaluation(line)) is not None]


def _evaluation(line: dict[str, Any]) -> Evaluation | None:
    try:
        return Evaluation.model_validate(line) if "dev_sum" in line else None
    except (KeyError, ValidationError) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else f"{error} is missing"
        raise BundleError(f"training.json: a line of the log with dev_sum: {fault}") from None


def mean_record(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of an averaged checkpoint: its parts', and once what all of them went on from."""
    start = records[0].get("continued_from")
    shared = start is not None and all(record.get("continued_from") == start for record in records)
    left_out = {"notice", "continued_from"} if shared else {"notice"}
    parts = [{key: value for key, value in record.items() if key not in left_out} for record in records]
    notices = dict.fromkeys(record.get("notice", "") for record in records)
    made = provenance(" ".join(notice for notice in notices if notice))
    return made | {"average_of": parts} | ({"all_continued_from": start} if shared else {})


def provenance(notice: str = "") -> dict[str, Any]:
    """The beginning of a record: command, with its paths cut to their last part, git revision, versions."""
    return {
        "record_version": RECORD_VERSION,
        "notice": notice,
        "command": " ".join([Path(sys.argv[0]).name, *(Path(argument).name for argument in sys.argv[1:])]),
        "revision": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def nowhere(settings: Any) -> Any:
    """Settings as a record tells them: of absolute paths the last two parts, so that no machine is described."""
    if isinstance(settings, Mapping):
        return {key: nowhere(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [nowhere(value) for value in settings]
    if isinstance(settings, str) and Path(settings).is_absolute():
        return "/".join(Path(settings).parts[-2:])
    return settings


def _git(*arguments: str) -> str | None:
    try:
        run = subprocess.run(  # noqa: S603  (fixed words)
            ["git", *arguments],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git here
        return None
    return run.stdout.strip() or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
