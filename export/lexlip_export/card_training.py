"""What a model card says of the training: a row a run, the first one first, and how the last one went.

The whole record, settings and versions included, stands in the manifest (`provenance`); a card is read by people.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lexlip_training.record import TrainingRecord

#: Of a log by epochs.
_LOG_COLUMNS = (
    *("epoch", "seconds", "loss", "contrast", "bag", "words", "flops"),
    *("text_to_image", "image_to_text"),
)
#: Of a log by optimiser steps: those that it has.
_STEP_COLUMNS = (
    *("step", "epoch", "loss", "self", "i2t", "t2t", "contrast", "bag", "words", "flops", "learning_rate"),
    *("terms_image", "terms_text", "t2i_1", "t2i_5", "t2i_10", "i2t_1", "i2t_5", "i2t_10"),
)
_HEADINGS = (
    *("run", "data", "steps", "epochs", "batch", "learning rate", "seed", "threads", "versions", "revision"),
    "text to image, then",
)


def training_section(record: TrainingRecord) -> str:
    """Markdown: the lineage, and the log of the last run or of those that were averaged."""
    rows = [row for row in lineage(record) if row != _row(TrainingRecord())]
    lines = ["## Training", ""]
    if rows:
        lines += [*_table(_HEADINGS, rows), "", "In the order of their making; `lexlip.json` holds every setting."]
    for run in record.runs():
        if run.log:
            lines += ["", f"`{command(run)}`:"] if record.average_of or rows else []
            lines += _log_table(run.log)
    return "\n".join(lines) if len(lines) > 2 else ""


def lineage(record: TrainingRecord) -> Iterator[tuple[str, ...]]:
    """A row of `_HEADINGS` for each step that led to these weights: runs, means, changes of the image size."""
    if record.continued_from is not None:
        yield from lineage(record.continued_from)
    if record.all_continued_from is not None:
        yield from lineage(record.all_continued_from)
    # A part may have gone on from another one.
    yield from dict.fromkeys(row for part in record.average_of for row in lineage(part))
    yield _row(record)
    for resize in record.resized:
        yield _row(TrainingRecord.read(resize))


def command(record: TrainingRecord) -> str:
    """What was typed, without the notice, which the card quotes, and without settings, which the table holds."""
    typed = record.command.split(" --notice ")[0].split(" --set ")[0]
    return typed or "a run without a command"


def _row(record: TrainingRecord) -> tuple[str, ...]:
    settings, selected = record.settings, record.selected or {}
    optimiser, schedule, run = (settings.get(name, {}) for name in ("optimiser", "schedule", "run"))
    versions = (record.model_extra or {}).get("versions", {})
    selection = record.selection()
    return (
        f"`{command(record)}`",
        _data(settings.get("data", {}).get("train", [])),
        _said(selected.get("step")),
        _said(schedule.get("epochs")),
        _said(optimiser.get("batch_size")),
        _said(optimiser.get("learning_rate")),
        _said(run.get("seed")),
        _said(run.get("threads")),
        f"torch {versions['torch']}" if "torch" in versions else "",
        _said((record.model_extra or {}).get("revision"))[:7],
        "" if selection is None else "/".join(f"{recall:.1f}" for recall in selection.text_to_image),
    )


def _data(sources: list[Any]) -> str:
    return ", ".join(str(source["path"] if isinstance(source, dict) else source) for source in sources)


def _said(value: object) -> str:
    return "" if value is None else str(value)


def _log_table(log: tuple[dict[str, Any], ...]) -> list[str]:
    """A row an epoch; where the log has one every few steps, a row an evaluation or else the last of an epoch."""
    columns: tuple[str, ...] = _LOG_COLUMNS
    lines = list(log)
    if any("step" in line for line in lines):
        lines = [line for line in lines if "dev_sum" in line] or list(
            {str(line.get("epoch")): line for line in lines}.values()
        )
        lines = [_rounded(line) for line in lines]
        columns = tuple(name for name in _STEP_COLUMNS if any(name in line for line in lines))
    return ["", *_table(columns, [[_said(line.get(column)) for column in columns] for line in lines])]


def _table(headings: tuple[str, ...], rows: list[Any]) -> list[str]:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _rounded(line: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in line.items()}
