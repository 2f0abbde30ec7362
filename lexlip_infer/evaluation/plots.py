"""Pictures of a calibration and of a sweep: what recall costs in kept terms, in bits, in size, in time of a search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lexlip_infer.errors import OutputError, require
from lexlip_infer.evaluation.calibration import Calibration, Outcome, TermsPoint
from lexlip_infer.evaluation.ranks import CUTOFFS, Recall
from lexlip_infer.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Files that are written.
PICTURES = ("recall_kept_terms.png", "recall_bits.png", "recall_latency.png")


def draw_calibration(calibration: Calibration, path: Path, name: str) -> None:
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


def draw_sweep(terms: Sequence[TermsPoint], bits: Sequence[Outcome], folder: Path, name: str) -> None:
    """Write `PICTURES`; those of an earlier run are replaced.

    Args:
        terms: settings of kept terms.
        bits: settings of bits.
        folder: made if it is not there.
        name: of the model, for the titles.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: a picture cannot be written.
    """
    require("matplotlib", extra="viz")
    top_ks = [point.image_top_k for point in terms]
    times = [point.text_to_image_microseconds for point in terms], [point.image_to_text_microseconds for point in terms]
    by_terms = _figure(terms, (top_ks, top_ks), "kept terms of an image, at most", name)
    by_bits = _figure(bits, ([point.bits for point in bits],) * 2, "bits of an impact", name)
    by_time = _figure(terms, times, "microseconds a search, mean, one thread (at the points: kept terms)", name)
    for axes in by_terms.axes:
        axes.set_xscale("log", base=2)
        axes.set_xticks(top_ks, [str(top_k) for top_k in top_ks])
    _annotate(by_time.axes, times, terms)
    figures = (by_terms, by_bits, by_time)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture, figure in zip(PICTURES, figures, strict=True):
            _write(figure, folder / picture)
    except OSError as error:
        raise OutputError(f"{folder}: the pictures cannot be written ({error.strerror or error})") from None


def _write(figure: Figure, picture: Path) -> None:
    with replacing(picture) as file:
        figure.savefig(file, dpi=120, format="png")


def _figure(
    points: Sequence[TermsPoint | Outcome], at: tuple[Sequence[float], Sequence[float]], label: str, name: str
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _lines(left, at[0], [point.text_to_image for point in points])
    _lines(right, at[1], [point.image_to_text for point in points])
    left.set(title=f"{name}, text to image", ylabel="recall, per cent")
    right.set(title="image to text")
    figure.supxlabel(label, fontsize="medium")
    left.legend(frameon=False)
    return figure


def _lines(axes: Axes, at: Sequence[float], recalls: Sequence[Recall]) -> None:
    for cutoff in CUTOFFS:
        axes.plot(at, [getattr(recall, f"at_{cutoff}") for recall in recalls], "o-", label=f"R@{cutoff}")
    axes.margins(y=0.1)
    axes.grid(alpha=0.3)


def _annotate(
    axes: Sequence[Axes], times: tuple[Sequence[float], Sequence[float]], terms: Sequence[TermsPoint]
) -> None:
    recalls = [point.text_to_image.at_10 for point in terms], [point.image_to_text.at_10 for point in terms]
    for one, at, heights in zip(axes, times, recalls, strict=True):
        for point, x, y in zip(terms, at, heights, strict=True):
            one.annotate(str(point.image_top_k), (x, y), textcoords="offset points", xytext=(0, 6), ha="center")
