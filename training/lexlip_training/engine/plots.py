"""Curves of a finished run: losses, recall and active terms over optimiser steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lexlip_infer.files import replacing
from lexlip_kernels.errors import require

__all__ = ["plot_run"]

#: Panels of the figure and the log's columns in each.
_PANELS = {
    "loss": ("loss",),
    "recall on the development split": ("t2i_1", "t2i_5", "t2i_10", "i2t_1", "i2t_5", "i2t_10"),
    "active terms": ("terms_image", "terms_text"),
}


def plot_run(log: list[dict[str, Any]], file: Path) -> None:
    """Draw the log's curves into a PNG; panels without data are left out.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require("matplotlib", extra="viz")
    from matplotlib.figure import Figure

    panels = {title: names for title, names in _PANELS.items() if any(name in line for line in log for name in names)}
    if not panels:
        return
    figure = Figure(figsize=(5 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            points = [(line["step"], line[name]) for line in log if name in line]
            if points:
                axis.plot(*zip(*points, strict=True), label=name)
        axis.set(title=title, xlabel="optimiser step")
        axis.legend(fontsize="small")
    with replacing(file) as picture:
        figure.savefig(picture, dpi=120, format="png")
