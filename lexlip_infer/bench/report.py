"""The record of a benchmark, as `--json` prints it, `--save` keeps it and `--compare` reads it again.

Timings of one process resemble each other more than those of two, so intervals come from a bootstrap that draws
processes (rounds) first and batches within them after that: T. Kalibera and R. Jones, "Rigorous benchmarking in
reasonable time", ISMM 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic
from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.ceilings import Ceilings
from lexlip_infer.bench.machine import Noise
from lexlip_infer.bench.settings import Setting
from lexlip_infer.errors import InputError
from lexlip_infer.files import first_fault, write_whole


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


_DRAWS = 2000
#: Rounds below which no interval means anything.
_FEWEST = 3

Rounds = Sequence[Sequence[float]]
Verdict = Literal["faster", "slower", "no difference shown"]


class Interval(_Section):
    """A median and the bounds between which it lies with 95 % confidence."""

    median: float
    low: float
    high: float


def median_interval(rounds: Rounds) -> Interval:
    """Of everything in all rounds; with a single round, of what is in it."""
    draws = _draws(rounds, 0)
    median = float(np.median(np.concatenate([np.asarray(each) for each in rounds])))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(median=median, low=min(float(low), median), high=max(float(high), median))


def compare_rounds(before: Rounds, after: Rounds) -> tuple[Interval, Verdict]:
    """How many times as fast `after` is, of seconds per item, with its 95 % interval.

    Returns:
        The ratio, and what may be said: a difference is shown where 1 lies outside the interval and both sides have at
        least three rounds.
    """
    ratios = _draws(before, 0) / _draws(after, 1)
    point = median_interval(before).median / median_interval(after).median
    low, high = (float(bound) for bound in np.quantile(ratios, [0.025, 0.975]))
    ratio = Interval(median=point, low=min(low, point), high=max(high, point))
    if min(len(before), len(after)) < _FEWEST or ratio.low <= 1 <= ratio.high:
        return ratio, "no difference shown"
    return ratio, "faster" if ratio.low > 1 else "slower"


def _draws(rounds: Rounds, seed: int) -> npt.NDArray[np.float64]:
    """Medians of rounds drawn with replacement, and of what is drawn within them."""
    random = np.random.default_rng(seed)
    arrays = [np.asarray(each, np.float64) for each in rounds]
    medians = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        chosen = [arrays[number] for number in random.integers(0, len(arrays), len(arrays))]
        medians[draw] = np.median(np.concatenate([each[random.integers(0, len(each), len(each))] for each in chosen]))
    return medians


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


#: What makes two machines two, of what `machine_info` says.
_MACHINE = ("cpu", "cpus_usable", "gpus")


class Change(_Section):
    """Of one setting.

    Attributes:
        setting: that both reports measured.
        pipelined: how many times as fast as before, from files to a file.
        pipelined_verdict: of it.
        sequential: the same, one stage after the other.
        sequential_verdict: of it.
    """

    setting: Setting
    pipelined: Interval
    pipelined_verdict: Verdict
    sequential: Interval
    sequential_verdict: Verdict


def compare_reports(before: Report, after: Report) -> list[Change]:
    """Every setting that stands in both.

    Raises:
        InputError: none does.
    """
    old = {result.setting: result for result in before.results}
    pairs = [(old[result.setting], result) for result in after.results if result.setting in old]
    if not pairs:
        raise InputError(
            "the baseline has none of these settings (modality, device, precision, threads, batch size); "
            "measure with the options that it was measured with"
        )
    return [_change(first, second) for first, second in pairs]


def differences(before: Report, after: Report) -> list[str]:
    """Why a comparison may say nothing about the code: another machine, model or input."""
    found = [
        f"{name} was {before.machine.get(name)!r} and is {after.machine.get(name)!r}"
        for name in _MACHINE
        if before.machine.get(name) != after.machine.get(name)
    ]
    if before.model["fingerprint"] != after.model["fingerprint"]:
        found.append(f"the model was {before.model['name']} and is {after.model['name']}, or has changed")
    if before.inputs != after.inputs:
        found.append(f"the inputs were {before.inputs} and are {after.inputs}")
    return found


def _change(before: Result, after: Result) -> Change:
    pipelined = compare_rounds(_alone(before.seconds_per_item), _alone(after.seconds_per_item))
    sequential = compare_rounds(before.batch_seconds, after.batch_seconds)
    return Change(
        setting=after.setting,
        pipelined=pipelined[0],
        pipelined_verdict=pipelined[1],
        sequential=sequential[0],
        sequential_verdict=sequential[1],
    )


def _alone(values: Sequence[float]) -> list[list[float]]:
    """Each a round of its own."""
    return [[value] for value in values]
