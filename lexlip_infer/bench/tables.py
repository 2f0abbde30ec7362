"""A report for people: what was measured, where the time goes, and what the ceilings are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from lexlip_infer.bench.ceilings import Ceilings
from lexlip_infer.bench.comparison import Change
from lexlip_infer.bench.report import Report, Result
from lexlip_infer.bench.settings import Setting

__all__ = ["ceilings_table", "changes_table", "name_of", "peers_table", "results_table", "stages_table", "warnings_of"]


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


def peers_table(record: Mapping[str, Any]) -> Table:
    """One line an engine, modality and batch size, of a record of benchmarks/peers."""
    table = _table("engine", "of", "batch", "items/s", "95 %", "x ours f32", "output")
    for row in record["results"]:
        interval = f"{_short(row['low'])} - {_short(row['high'])}"
        figures = (_short(row["items_per_s"]), interval, f"{row['speed_of_ours_f32']:.2f}")
        table.add_row(row["peer"], row["modality"], str(row["batch_size"]), *figures, row["output"])
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
