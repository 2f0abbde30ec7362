"""A report as pictures: roofline, stages, and throughput over the size of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lexlip_infer.bench.ceilings import Ceilings
from lexlip_infer.bench.clock import TEXT_STAGES
from lexlip_infer.bench.report import Report, Result
from lexlip_infer.bench.tables import name_of
from lexlip_infer.errors import OutputError, require
from lexlip_infer.files import replacing

__all__ = ["draw_report"]

#: Of images and texts together, as the data goes.
_IN_ORDER = ("read", "decode", "resize", *TEXT_STAGES[1:])


def draw_report(report: Report, folder: Path) -> list[Path]:
    """Write `roofline.png`, `stages.png` and `throughput.png`; pictures of these names are replaced.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: they cannot be written.
    """
    require("matplotlib", extra="viz")
    pictures = {"roofline": _roofline, "stages": _stages, "throughput": _throughput}
    return [_saved(draw(report), folder / f"{name}.png") for name, draw in pictures.items()]


def _saved(figure: Any, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            figure.savefig(file, dpi=110, format="png")
    except OSError as error:
        raise OutputError(f"{path}: the picture cannot be written ({error.strerror or error})") from None
    return path


def _figure(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    return figure, figure.subplots()


def _roofline(report: Report) -> Any:
    """Backbone and head of every setting, under the ceilings of the device with most threads."""
    figure, axes = _figure(5.5)
    points = [
        (row.gflop_per_s / row.gb_per_s, row.gflop_per_s, f"{row.stage}: {name_of(result.setting)}")
        for result in report.results
        for row in result.stages
        if row.gflop_per_s and row.gb_per_s
    ]
    ceilings = report.ceilings[-1]
    _roofs(axes, ceilings, [place for place, _, _ in points])
    for number, (place, rate, name) in enumerate(points):
        axes.plot(place, rate, "os^vDP*X"[number % 8], color=f"C{number % 10}", label=f"{name}: {rate:,.0f}")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte that has to move", ylabel="GFLOP/s")
    axes.set_title(f"{report.model['name']}: {report.machine['cpu']}, roofs of {ceilings.threads} threads", fontsize=10)
    axes.legend(fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    return figure


def _roofs(axes: Any, ceilings: Ceilings, places: Sequence[float]) -> None:
    ridge = max(ceilings.gflop_per_s.values()) / ceilings.copy_gb_per_s
    reach = np.geomspace(min(*places, ridge) / 4, max(*places, ridge) * 4, 200)
    for name, rate in ceilings.gflop_per_s.items():
        axes.plot(reach, np.minimum(reach * ceilings.copy_gb_per_s, rate), color="0.55", linewidth=1)
        axes.annotate(f"{name}: {rate:,.0f}", (reach[-1], rate), ha="right", va="bottom", color="0.35")


def _stages(report: Report) -> Any:
    """A bar a setting, per item."""
    figure, axes = _figure(1.5 + 0.45 * len(report.results))
    present = {row.stage for result in report.results for row in result.stages}
    names = [name for name in _IN_ORDER if name in present]
    labels = [name_of(result.setting) for result in report.results]
    left = np.zeros(len(labels))
    for number, name in enumerate(names):
        widths = np.array([_ms(result, name) for result in report.results])
        axes.barh(labels, widths, left=left, label=name, color=f"C{number % 10}")
        left += widths
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds an item, one stage after the other")
    axes.legend(fontsize="small", ncols=3, frameon=False)
    return figure


def _ms(result: Result, stage: str) -> float:
    return sum(row.ms for row in result.stages if row.stage == stage)


def _throughput(report: Report) -> Any:
    figure, axes = _figure(4.5)
    lines: dict[str, list[Result]] = {}
    for result in report.results:
        lines.setdefault(name_of(result.setting).rpartition(", ")[0], []).append(result)
    for name, results in lines.items():
        ordered = sorted(results, key=lambda result: result.setting.batch_size)
        sizes = [result.setting.batch_size for result in ordered]
        rates = [result.per_second for result in ordered]
        errors = [[r.median - r.low for r in rates], [r.high - r.median for r in rates]]
        axes.errorbar(sizes, [rate.median for rate in rates], errors, marker="o", capsize=3, label=name)
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel="items a second, from files to a file")
    every = sorted({result.setting.batch_size for result in report.results})
    axes.set_xticks(every, [str(size) for size in every])
    axes.set_xticks([], minor=True)
    axes.legend(fontsize="small", frameon=False)
    return figure
