"""A report against an older one: how many times as fast each setting is, and whether that can be said at all."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.intervals import Interval, Verdict, compare_rounds
from lexlip_infer.bench.report import Report, Result
from lexlip_infer.bench.settings import Setting
from lexlip_infer.errors import InputError

__all__ = ["Change", "compare_reports", "differences"]

#: What makes two machines two, of what `machine_info` says.
_MACHINE = ("cpu", "cpus_usable", "gpus")


class Change(BaseModel):
    """Of one setting.

    Attributes:
        setting: that both reports measured.
        pipelined: how many times as fast as before, from files to a file.
        pipelined_verdict: of it.
        sequential: the same, one stage after the other.
        sequential_verdict: of it.
    """

    model_config = ConfigDict(frozen=True)

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
