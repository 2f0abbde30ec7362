"""Pictures of a sweep: recall against kept terms, against bits, against the time of a search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lexlip_infer.errors import OutputError, require
from lexlip_infer.retrieval.recall import CUTOFFS, Recall
from lexlip_infer.retrieval.sweep import BitsPoint, TermsPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "draw_sweep"]

#: Files that are written.
PICTURES = ("recall_kept_terms.png", "recall_bits.png", "recall_latency.png")


class _Recalls(Protocol):
    """A point of a sweep."""

    @property
    def text_to_image(self) -> Recall: ...

    @property
    def image_to_text(self) -> Recall: ...


def draw_sweep(terms: Sequence[TermsPoint], bits: Sequence[BitsPoint], folder: Path, name: str) -> None:
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
    figures = (
        _figure(terms, [p.image_top_k for p in terms], "kept terms of an image, at most", name, logarithmic=True),
        _figure(bits, [p.bits for p in bits], "bits of an impact", name),
        _figure(terms, [p.microseconds for p in terms], "microseconds a search (mean, one thread)", name),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture, figure in zip(PICTURES, figures, strict=True):
            partial = folder / f".{picture}"
            figure.savefig(partial, dpi=120, format="png")
            partial.rename(folder / picture)
    except OSError as error:
        raise OutputError(f"{folder}: the pictures cannot be written ({error.strerror or error})") from None


def _figure(
    points: Sequence[_Recalls], at: Sequence[float], label: str, name: str, *, logarithmic: bool = False
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _lines(left, at, [point.text_to_image for point in points])
    _lines(right, at, [point.image_to_text for point in points])
    left.set(title=f"{name}, text to image", xlabel=label, ylabel="recall, per cent")
    right.set(title="image to text", xlabel=label)
    left.legend(frameon=False)
    if logarithmic:
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(at), [f"{value:g}" for value in at])
    return figure


def _lines(axes: Axes, at: Sequence[float], recalls: Sequence[Recall]) -> None:
    for cutoff in CUTOFFS:
        axes.plot(at, [getattr(recall, f"at_{cutoff}") for recall in recalls], "o-", label=f"R@{cutoff}")
    axes.grid(alpha=0.3)
