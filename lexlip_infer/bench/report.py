"""The record of a benchmark, as `--json` prints it, `--save` keeps it and `--compare` reads it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.ceilings import Ceilings
from lexlip_infer.bench.intervals import Interval
from lexlip_infer.bench.noise import Noise
from lexlip_infer.bench.settings import Setting
from lexlip_infer.errors import InputError
from lexlip_infer.files import first_fault, write_whole

__all__ = ["Latency", "Report", "Result", "StageRow", "read_report", "save_report"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


class StageRow(_Section):
    """A stage of a sequential run, per image or text.

    Attributes:
        stage: its name.
        ms: milliseconds.
        share: of the whole run.
        bound: what would have to become faster for the stage to be.
        floor_ms: milliseconds at that ceiling; None where none was measured.
        of_ceiling: floor_ms / ms.
        gflop_per_s: useful operations a second, in 10^9; None where the stage has none to speak of.
        gb_per_s: bytes a second that have to move at least, in 10^9.
    """

    stage: str
    ms: float
    share: float
    bound: str
    floor_ms: float | None = None
    of_ceiling: float | None = None
    gflop_per_s: float | None = None
    gb_per_s: float | None = None


class Latency(_Section):
    """Milliseconds of a whole batch from its files to its lines, stages one after the other, over `batches` batches."""

    p50: float
    p95: float
    p99: float
    batches: int


class Result(_Section):
    """One setting, measured.

    Attributes:
        setting: how it ran.
        path: what ran the tower, for people.
        head: what ran the lexicon head.
        items: images or texts of a round.
        lanes: batches at the same time in the pipeline.
        per_second: images or texts a second, from files to a part file, as `lexlip-encode` works.
        sequential_per_second: the same with one stage after the other.
        latency_ms: of a batch.
        stages: in the order of the data.
        accounted: sum of the stages over the time by the clock.
        gflop_per_item: useful operations, 10^9.
        gflop_per_s: that `per_second` comes to.
        floor_ms: an item would take if all operations ran at the ceiling of the setting's precision; None where none
            was measured.
        times_floor: how many times as long it takes.
        peak_rss_mb: of the process of the pipeline, in 10^6 bytes.
        sequential_peak_rss_mb: of the process that ran one stage after the other.
        device_memory_mb: on the GPU; None on a CPU.
        seconds_per_item: each round's, in the pipeline.
        batch_seconds: each round's batches, sequential.
    """

    setting: Setting
    path: str
    head: str
    items: int
    lanes: int
    per_second: Interval
    sequential_per_second: Interval
    latency_ms: Latency
    stages: list[StageRow]
    accounted: float
    gflop_per_item: float
    gflop_per_s: float
    floor_ms: float | None
    times_floor: float | None
    peak_rss_mb: float
    sequential_peak_rss_mb: float
    device_memory_mb: float | None
    seconds_per_item: list[float]
    batch_seconds: list[list[float]]


class Report(_Section):
    """Everything.

    Attributes:
        benchmark: marks the file.
        format: of this record.
        machine: see `machine_info`.
        noise: before and after.
        model: name, fingerprint, sizes.
        inputs: what was encoded, for people.
        rounds: how often every setting had its turn.
        ceilings: of every device and number of threads.
        results: one a setting.
    """

    benchmark: Literal["lexlip-bench"] = "lexlip-bench"
    format: Literal[1] = 1
    machine: dict[str, Any]
    noise: list[Noise]
    model: dict[str, Any]
    inputs: str
    rounds: int
    ceilings: list[Ceilings]
    results: list[Result]


def read_report(path: Path) -> Report:
    """A report that was saved.

    Raises:
        InputError: the file cannot be read, or is no such report.
    """
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a file that --save has written") from None
    except pydantic.ValidationError as error:
        raise InputError(
            f"{path}: no report of this version ({first_fault(error)}); name a file that --save has written"
        ) from None


def save_report(report: Report, path: Path) -> None:
    """Write it whole or not at all; an older report there is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    write_whole(path, report.model_dump_json(indent=1).encode() + b"\n")
