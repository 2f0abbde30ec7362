"""A report for people, as tables and as pictures: what was measured, where the time goes, and what the ceilings are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from lexlip_infer.bench.ceilings import Ceilings
from lexlip_infer.bench.report import Change, Report, Result
from lexlip_infer.bench.settings import Setting
from lexlip_infer.bench.stages import TEXT_STAGES
from lexlip_infer.errors import OutputError, require
from lexlip_infer.files import replacing


def name_of(setting: Setting) -> str:
    """A setting in a few words."""
    backend = "" if setting.backend in ("auto", "onnxruntime") else f"{setting.backend} "
    threads = f"{setting.threads} thread{'s' * (setting.threads > 1)}"
    return f"{setting.modality}s, {setting.device} {backend}{setting.precision}, {threads}, batch {setting.batch_size}"


def ceilings_table(ceilings: Sequence[Ceilings]) -> Table:
    """What the machine can do at most."""
    table = _table("device", "threads", "GFLOP/s at most", "copy GB/s")
    for each in ceilings:
        rates = "  ".join(f"{name} {rate:,.0f} ({each.engine[name]})" for name, rate in each.gflop_per_s.items())
        table.add_row(each.device, str(each.threads), rates, f"{each.copy_gb_per_s:.1f}")
    return table


def results_table(report: Report) -> Table:
    """One line a setting."""
    table = _table("setting", "items/s", "95 %", "sequential", "p50", "p95", "p99 ms", "peak MB", "GFLOP/s", "x floor")
    for result in report.results:
        table.add_row(*_cells(result))
    return table


def _cells(result: Result) -> Iterator[str]:
    rate, latency = result.per_second, result.latency_ms
    yield name_of(result.setting)
    yield _short(rate.median)
    yield f"{_short(rate.low)} - {_short(rate.high)}"
    yield _short(result.sequential_per_second.median)
    yield from (f"{value:.1f}" for value in (latency.p50, latency.p95, latency.p99))
    device = "" if result.device_memory_mb is None else f" + {result.device_memory_mb:.0f} on the device"
    yield f"{result.peak_rss_mb:.0f}{device}"
    yield _short(result.gflop_per_s)
    yield _optional(result.times_floor, ".2f")


def stages_table(result: Result) -> Table:
    """Where the time of a setting goes, one stage after the other."""
    table = _table("stage", "ms", "share", "GFLOP/s", "GB/s", "bound by", "floor ms", "of ceiling")
    for row in result.stages:
        table.add_row(
            row.stage,
            f"{row.ms:.3f}",
            f"{row.share:.1%}",
            _optional(row.gflop_per_s, ",.1f"),
            _optional(row.gb_per_s, ".2f"),
            row.bound,
            _optional(row.floor_ms, ".3f"),
            _optional(row.of_ceiling, ".0%"),
        )
    return table


def changes_table(changes: Sequence[Change]) -> Table:
    """Against a baseline."""
    table = _table("setting", "pipeline", "95 %", "verdict", "sequential", "95 %", "verdict")
    for each in changes:
        pairs = ((each.pipelined, each.pipelined_verdict), (each.sequential, each.sequential_verdict))
        cells = [
            text
            for ratio, verdict in pairs
            for text in (f"x {ratio.median:.3f}", f"{ratio.low:.3f} - {ratio.high:.3f}", verdict)
        ]
        table.add_row(name_of(each.setting), *cells)
    return table


def warnings_of(report: Report) -> list[str]:
    """What speaks against these figures."""
    when = ("before", "after")
    found = [f"{at}: {text}" for at, noise in zip(when, report.noise, strict=False) for text in noise.warnings]
    if report.rounds < 3:
        found.append(f"{report.rounds} rounds are too few for intervals; --rounds 5 gives some")
    return found


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        words = number == 0 or name in ("bound by", "verdict") or "at most" in name
        table.add_column(name, justify="left" if words else "right")
    return table


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _optional(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


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
    draw_roofs(axes, ceilings.gflop_per_s, ceilings.copy_gb_per_s, [place for place, _, _ in points])
    for number, (place, rate, name) in enumerate(points):
        axes.plot(place, rate, "os^vDP*X"[number % 8], color=f"C{number % 10}", label=f"{name}: {rate:,.0f}")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte that has to move", ylabel="GFLOP/s")
    axes.set_title(f"{report.model['name']}: {report.machine['cpu']}, roofs of {ceilings.threads} threads", fontsize=10)
    axes.legend(fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    return figure


def draw_roofs(axes: Any, rates: Mapping[str, float], gb_per_s: float, places: Sequence[float]) -> None:
    """A roof for each rate in GFLOP/s, as far as the points' operations per byte need it; `gb_per_s` is its slope."""
    ridge = max(rates.values()) / gb_per_s
    reach = np.geomspace(min(*places, ridge) / 4, max(*places, ridge) * 4, 200)
    for name, rate in rates.items():
        axes.plot(reach, np.minimum(reach * gb_per_s, rate), color="0.55", linewidth=1)
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
