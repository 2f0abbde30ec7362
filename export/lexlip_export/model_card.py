"""The model card: what the model is, what it may be used for, what it reaches, the words it knows, how it was made.

Every figure in it is taken from the training record or from an evaluation of the bundle; none is written here. What
people have to say of it, and show, is a text of their own (`About`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_export.card_facts import CardFacts
from lexlip_export.card_training import training_section
from lexlip_export.precision.report import PARITY, Direction, ParityReport, PrecisionReport
from lexlip_kernels.errors import InputError
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP
from lexlip_training.record import TrainingRecord

_FRONT_MATTER = "---\nlibrary_name: lexlip-infer\ntags: [sparse-retrieval, image-text-retrieval, LexLIP]\n---"
_NO_NOTICE = "No notice was recorded with these weights."

#: Terms at either end of the table of terms.
_TERMS_SHOWN = 15


def model_card(
    model: LexLIP,
    training: dict[str, Any],
    settings: dict[str, Any],
    facts: CardFacts | None = None,
    parity: ParityReport | None = None,
) -> str:
    """Markdown with the front matter of a Hugging Face model card.

    Args:
        model: for its shapes.
        training: the checkpoint's record; `notice` is quoted, runs and `log` become tables.
        settings: what the bundle was exported with.
        facts: what was measured of it, and what its makers say.
        parity: what the parity gate found, or nothing.
    """
    config, facts = model.config, facts or CardFacts()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    kind = "A LexLIP dual encoder" if len(config.modalities) == 2 else "A sparse encoder"
    description = (
        f"{kind}: {' and '.join(f'{name}s' for name in config.modalities)} become sparse weights over "
        f"{config.vocab_size:,} terms. {parameters / 1e6:.2f} M parameters; {_towers(config)}. "
        "Use it through `lexlip_infer.LexLIPEncoder.from_pretrained(...)`."
    )
    record = TrainingRecord.read(training)
    sections = [
        _FRONT_MATTER,
        f"# {config.name}",
        description,
        f"## Notice\n\n{training.get('notice') or _NO_NOTICE}",
        facts.about.strip(),
        _results(record, facts.evaluations),
        _words(facts.words),
        precision_section(parity),
        f"## Export\n\n```json\n{json.dumps(settings, indent=2)}\n```",
        training_section(record),
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
        training_section(TrainingRecord.read(record)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _towers(config: ModelConfig) -> str:
    image, text = config.image, config.text
    towers = []
    if image is not None:
        towers.append(f"image tower `{image.backbone}` at {image.image_size} px")
    if text is not None:
        lookup = " (or, for queries, a weight of each term and no tower)" if text.lookup else ""
        towers.append(f"text tower BERT with {text.layers} layers of width {config.hidden_size}{lookup}")
    return ", ".join(towers)


def _results(record: TrainingRecord, evaluations: Mapping[str, dict[str, Any]]) -> str:
    """Recalls of the selection and of every evaluation, with the intervals that it holds."""
    lines = []
    if selected := record.selection():
        ranked = {"vectors": "full vectors, cosine, torch in bfloat16", "impacts": "kept terms, integer impacts, torch"}
        row = f"{_slashed(selected.text_to_image)} | {_slashed(selected.image_to_text)}"
        lines.append(f"| selection | {ranked[selected.ranking]} | {row} |")
    for name, evaluation in evaluations.items():
        try:
            lines.append(_evaluated(name, evaluation))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the evaluation {name!r} is not the output of lexlip eval --json ({error!r})") from None
    if not lines:
        return ""
    what = (
        "Recall at 1/5/10 in per cent on development splits, which the weights were selected on; in brackets intervals "
        "of 95 per cent, bootstrapped over photographs:"
    )
    heading = ["## Results", "", what, "", "| data | how | text to image | image to text |", "|---|---|---|---|"]
    return "\n".join(heading + lines)


def _evaluated(name: str, evaluation: dict[str, Any]) -> str:
    top_k = evaluation["top_k"]
    how = f"this bundle: integer impacts x{evaluation['scale']:g}, image top-{top_k['image']}, "
    lookup = evaluation.get("query_mode") == "lookup"
    how += "queries by lookup" if lookup else f"text top-{top_k['text']}"
    ways = (_recall(evaluation, way) for way in ("text_to_image", "image_to_text"))
    return f"| {name} | {how}, exact search | {' | '.join(ways)} |"


def _recall(evaluation: dict[str, Any], way: str) -> str:
    cutoffs = [f"r@{k}" for k in (1, 5, 10)]
    recalls = _slashed(evaluation[way][cutoff] for cutoff in cutoffs)
    intervals = evaluation.get("intervals_95", {}).get(way)
    if intervals is None:
        return recalls
    return f"{recalls} [{', '.join('-'.join(f'{end:.1f}' for end in intervals[cutoff]) for cutoff in cutoffs)}]"


def _slashed(recalls: Iterable[float]) -> str:
    return "/".join(f"{recall:.1f}" for recall in recalls)


def _words(measured: tuple[str, dict[str, Any]] | None) -> str:
    """How right the terms of images are, and which ones are right and which are not."""
    if measured is None:
        return ""
    data, report = measured
    try:
        terms = report["terms"]
        strongest = next(key for key in report if key.startswith("strongest_")).split("_")[1]
        found = (
            f"On {data}: {report[f'strongest_{strongest}_right']:g} per cent of an image's {strongest} strongest terms "
            "stand in one of its captions, both stemmed. Ranked by a term, images whose captions hold it have a mean "
            f"average precision of {report['mean_average_precision']:g} (at random {report['at_random']:g}) over the "
            f"{len(terms):,} terms that enough captions hold. The best and the worst of them:"
        )
        heading = "| term | images that keep it | with it in a caption | average precision |"
        lines = ["## Words", "", found, "", heading, "|---|---|---|---|"]
        shown = terms if len(terms) <= 2 * _TERMS_SHOWN else [*terms[:_TERMS_SHOWN], *terms[-_TERMS_SHOWN:]]
        lines += [
            f"| {row['term']} | {row['images']:,} | {row['in_captions']:,} | {row['average_precision']:.3f} |"
            for row in shown
        ]
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise InputError(f"not a report of benchmarks/words_of_images.py ({error!r})") from None
    return "\n".join(lines)


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
