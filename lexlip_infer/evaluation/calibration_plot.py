"""A picture of a calibration: recall lost against the size of the index, one line a number of kept terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.errors import OutputError, require

if TYPE_CHECKING:
    from pathlib import Path

    from lexlip_infer.evaluation.calibration import Calibration

__all__ = ["draw"]


def draw(calibration: Calibration, path: Path, name: str) -> None:
    """Write a PNG (or what the suffix says).

    Args:
        calibration: what was measured.
        path: the picture.
        name: of the model, for the title.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    require("matplotlib", extra="viz")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for top_k in dict.fromkeys(outcome.image_top_k for outcome in calibration.outcomes):
        row = [outcome for outcome in calibration.outcomes if outcome.image_top_k == top_k]
        sizes = [outcome.postings * outcome.bits / 8 for outcome in row]
        axes.plot(sizes, [outcome.loss for outcome in row], "o-", label=f"{top_k} terms")
        for outcome, size in zip(row, sizes, strict=True):
            axes.annotate(
                f"{outcome.bits}", (size, outcome.loss), textcoords="offset points", xytext=(0, 6), ha="center"
            )
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set(
        xscale="log",
        title=name,
        xlabel="bytes of impacts an image (at the points: bits an impact)",
        ylabel="points of mean recall lost",
    )
    axes.legend(frameon=False)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: the picture cannot be written ({error})") from None
