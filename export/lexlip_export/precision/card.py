"""The parity gate's findings as a section of the model card."""

from __future__ import annotations

from lexlip_export.precision.report import PARITY, Direction, ParityReport, PrecisionReport

__all__ = ["precision_section"]


def precision_section(parity: ParityReport | None) -> str:
    """Markdown, or nothing where the bundle holds float32 alone."""
    if parity is None:
        return ""
    inputs = "; ".join(dict.fromkeys(report.inputs for report in parity.precisions))
    lines = [
        "## Precisions",
        "",
        f"Against {parity.reference} on {inputs}. All figures and limits: `{PARITY}`.",
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
    before, after = ("/".join(f"{value:.1f}" for value in side) for side in (direction.reference, direction.candidate))
    return f"{before} → {after}; {direction.agreement:.1%}"
