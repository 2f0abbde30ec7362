"""The model card: what the model is, how it was made, what it reaches, and what its weights may be used for.

Every figure in it is taken from the training record or from an evaluation of the bundle; none is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_export.precision.report import PARITY, Direction, ParityReport, PrecisionReport
from lexlip_kernels.errors import InputError
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP
from lexlip_training.record import TrainingRecord

_FRONT_MATTER = "---\nlibrary_name: lexlip-infer\ntags: [sparse-retrieval, image-text-retrieval, LexLIP]\n---"
_NO_NOTICE = "No notice was recorded with these weights."

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


def model_card(
    model: LexLIP,
    training: dict[str, Any],
    settings: dict[str, Any],
    evaluation: dict[str, Any] | None,
    parity: ParityReport | None = None,
) -> str:
    """Markdown with the front matter of a Hugging Face model card.

    Args:
        model: for its shapes.
        training: the checkpoint's record; `notice` is quoted, `log` becomes a table.
        settings: what the bundle was exported with.
        evaluation: what `lexlip eval --json` printed, or nothing.
        parity: what the parity gate found, or nothing.
    """
    config = model.config
    parameters = sum(parameter.numel() for parameter in model.parameters())
    kind = "A LexLIP dual encoder" if len(config.modalities) == 2 else "A sparse encoder"
    description = (
        f"{kind}: {' and '.join(f'{name}s' for name in config.modalities)} become sparse weights over "
        f"{config.vocab_size:,} word pieces. {parameters / 1e6:.2f} M parameters; {_towers(config)}. "
        "Use it through `lexlip_infer.LexLIPEncoder.from_pretrained(...)`."
    )
    sections = [
        _FRONT_MATTER,
        f"# {config.name}",
        description,
        f"## Notice\n\n{training.get('notice') or _NO_NOTICE}",
        _results(training, evaluation),
        precision_section(parity),
        f"## Export\n\n```json\n{json.dumps(settings, indent=2)}\n```",
        _training(training),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def static_card(name: str, weights: npt.NDArray[np.float32], record: dict[str, Any]) -> str:
    """Markdown of a bundle that holds what terms weigh (V,) and no model."""
    weighty = int((weights > 0).sum())
    description = (
        f"An encoder of queries without a model: {weighty:,} of {len(weights):,} terms have a weight, up to "
        f"{float(weights.max()):.4g}, which each text that holds them gets. It knows no images: search with it what "
        "the document half of the same model has encoded. "
        "Use it through `lexlip_infer.LexLIPEncoder.from_pretrained(...)`."
    )
    sections = [
        _FRONT_MATTER,
        f"# {name}",
        description,
        f"## Notice\n\n{record.get('notice') or _NO_NOTICE}",
        _training(record),
    ]
    return "\n\n".join(sections) + "\n"


def _towers(config: ModelConfig) -> str:
    image, text = config.image, config.text
    towers = []
    if image is not None:
        towers.append(f"image tower `{image.backbone}` at {image.image_size} px")
    if text is not None:
        lookup = " (or, for queries, a weight of each term and no tower)" if text.lookup else ""
        towers.append(f"text tower BERT with {text.layers} layers of width {config.hidden_size}{lookup}")
    return ", ".join(towers)


def _results(training: dict[str, Any], evaluation: dict[str, Any] | None) -> str:
    lines = [
        "## Results",
        "",
        "Recall at 1/5/10 in per cent on the development split, which the weights were selected on:",
    ]
    lines += ["", "| what | text to image | image to text |", "|---|---|---|"]
    selected = TrainingRecord.read(training).selection()
    if selected:
        ranked = {"vectors": "full vectors, cosine, torch in bfloat16", "impacts": "kept terms, integer impacts, torch"}
        row = f"{_slashed(selected.text_to_image)} | {_slashed(selected.image_to_text)}"
        lines.append(f"| {ranked[selected.ranking]} (selection) | {row} |")
    if evaluation:
        try:
            lines.append(_evaluated(evaluation))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the evaluation is not the output of lexlip eval --json ({error!r})") from None
    return "\n".join(lines) if selected or evaluation else ""


def _evaluated(evaluation: dict[str, Any]) -> str:
    top_k = evaluation["top_k"]
    what = (
        f"this bundle: integer impacts x{evaluation['scale']:g}, image top-{top_k['image']}, "
        f"text top-{top_k['text']}, exact search"
    )
    return f"| {what} | {_recall(evaluation['text_to_image'])} | {_recall(evaluation['image_to_text'])} |"


def _recall(figures: dict[str, float]) -> str:
    return _slashed(figures[f"r@{k}"] for k in (1, 5, 10))


def _slashed(recalls: Iterable[float]) -> str:
    return "/".join(f"{recall:.1f}" for recall in recalls)


def _training(training: dict[str, Any]) -> str:
    """The record as it is, but each run's log as a table below it: of one run, or of those that were averaged."""
    parts = training.get("average_of", [])
    record = _without_log(training) | ({"average_of": [_without_log(part) for part in parts]} if parts else {})
    lines = ["## Training", "", "```json", json.dumps(record, indent=2), "```"]
    for run in parts or [training]:
        if run.get("log"):
            lines += ["", f"`{run.get('command', 'a run without a command')}`:"] if parts else []
            lines += _log_table(run["log"])
    return "\n".join(lines)


def _log_table(log: list[dict[str, Any]]) -> list[str]:
    """A row an epoch; where the log has one every few steps, a row an evaluation or else the last of an epoch."""
    columns: tuple[str, ...] = _LOG_COLUMNS
    if any("step" in line for line in log):
        chosen = [line for line in log if "dev_sum" in line] or list(
            {str(line.get("epoch")): line for line in log}.values()
        )
        log = [_rounded(line) for line in chosen]
        columns = tuple(name for name in _STEP_COLUMNS if any(name in line for line in log))
    lines = ["", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(str(line.get(column, "")) for column in columns) + " |" for line in log]


def _rounded(line: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in line.items()}


def _without_log(training: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in training.items() if key not in ("log", "notice")}


def precision_section(parity: ParityReport | None) -> str:
    """Markdown, or nothing where the bundle holds float32 alone."""
    if parity is None:
        return ""
    inputs = "; ".join(dict.fromkeys(report.inputs for report in parity.precisions))
    calibrated = [
        f" {report.precision} was calibrated on {report.calibration}."
        for report in parity.precisions
        if report.calibration
    ]
    lines = [
        "## Precisions",
        "",
        f"Against {parity.reference} on {inputs}.{''.join(calibrated)} All figures and limits: `{PARITY}`.",
        "",
        "| precision | tower | hidden states: max, mean error | weights: max, mean error | terms in common |",
        "|---|---|---|---|---|",
        *(row for report in parity.precisions for row in _errors(report)),
        "",
        "Recall at 1/5/10 in per cent, float32 → precision; share of the ten best results in common:",
        "",
        "| precision | text to image | image to text |",
        "|---|---|---|",
        *(_retrieval(report) for report in parity.precisions),
    ]
    return "\n".join(lines)


def _errors(report: PrecisionReport) -> list[str]:
    return [
        f"| {report.precision} | {name} | {tower.hidden.max:.3g}, {tower.hidden.mean:.3g} "
        f"| {tower.weights.max:.3g}, {tower.weights.mean:.3g} | {tower.overlap:.1%} of {tower.top_k} |"
        for name, tower in report.towers.items()
    ]


def _retrieval(report: PrecisionReport) -> str:
    if report.retrieval == "not measured":
        return f"| {report.precision} | not measured | not measured |"
    return f"| {report.precision} | {_way(report.retrieval.text_to_image)} | {_way(report.retrieval.image_to_text)} |"


def _way(direction: Direction) -> str:
    before, after = _slashed(direction.reference), _slashed(direction.candidate)
    return f"{before} → {after}; {direction.agreement:.1%}"
