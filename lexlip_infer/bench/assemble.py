"""From what the processes measured to a line of the report: medians, shares, and what each stage is bound by."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from lexlip_infer.bench.ceilings import Ceilings
from lexlip_infer.bench.report import Interval, Latency, Result, StageRow, median_interval
from lexlip_infer.bench.settings import Setting
from lexlip_infer.bench.stages import IMAGE_STAGES, TEXT_STAGES, Sequential
from lexlip_infer.bench.work import Floor, Work, floor
from lexlip_infer.bench.worker import Pipelined, Sample

#: Arithmetic of each lexicon head: the native one scans in int8 and computes few terms in float32.
_HEAD_PRECISION = {"native": "int8", "onnx": "f32"}
_BYTES = {"f32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_ONE_CORE = "one core"
_FILES = "files"
_SERIAL = {"read": _FILES, "write": _FILES}


class Measured:
    """All rounds of one setting.

    Args:
        setting: how it ran.
        samples: of both modes, in any order.
    """

    def __init__(self, setting: Setting, samples: Sequence[Sample]) -> None:
        self.setting = setting
        self.sequential: list[Sequential] = [each.sequential for each in samples if each.sequential is not None]
        self.pipelined: list[Pipelined] = [each.pipelined for each in samples if each.pipelined is not None]
        self.peak = max(each.peak_rss_mb for each in samples if each.pipelined is not None)
        self.sequential_peak = max(each.peak_rss_mb for each in samples if each.sequential is not None)
        taken = [each.device_memory_mb for each in samples if each.device_memory_mb is not None]
        self.device_memory = max(taken) if taken else None


def assemble(measured: Measured, work: Work, weights: int, precision: str, ceilings: Ceilings) -> Result:
    """A line of the report.

    Args:
        measured: what the processes found.
        work: of one item.
        weights: bytes of the backbone's file.
        precision: that the backbone ran in.
        ceilings: of the device it ran on.
    """
    first, piped = measured.sequential[0], measured.pipelined
    batches = [run.batch_seconds for run in measured.sequential]
    per_item = [run.wall_seconds / run.items for run in piped]
    per_second = _inverse(median_interval([[seconds] for seconds in per_item]))
    size = measured.setting.batch_size
    operations = work.backbone + work.head
    whole = floor(operations, 0, precision, ceilings)
    return Result(
        setting=measured.setting,
        path=first.path,
        head=first.head,
        items=first.items,
        lanes=piped[0].lanes,
        per_second=per_second,
        sequential_per_second=_inverse(median_interval([[s / size for s in each] for each in batches])),
        latency_ms=_latency(batches),
        stages=_stages(measured, work, weights, precision, ceilings),
        accounted=statistics.median(sum(r.stage_seconds.values()) / r.wall_seconds for r in measured.sequential),
        gflop_per_item=operations / 1e9,
        gflop_per_s=operations / 1e9 * per_second.median,
        floor_ms=whole.ms if whole else None,
        times_floor=1e3 / per_second.median / whole.ms if whole else None,
        peak_rss_mb=measured.peak,
        sequential_peak_rss_mb=measured.sequential_peak,
        device_memory_mb=measured.device_memory,
        seconds_per_item=per_item,
        batch_seconds=batches,
    )


def _inverse(seconds: Interval) -> Interval:
    return Interval(median=1 / seconds.median, low=1 / seconds.high, high=1 / seconds.low)


def _latency(batches: Sequence[Sequence[float]]) -> Latency:
    every = np.concatenate([np.asarray(each) for each in batches]) * 1e3
    p50, p95, p99 = (float(value) for value in np.quantile(every, [0.5, 0.95, 0.99]))
    return Latency(p50=p50, p95=p95, p99=p99, batches=len(every))


def _stages(measured: Measured, work: Work, weights: int, precision: str, ceilings: Ceilings) -> list[StageRow]:
    names = IMAGE_STAGES if measured.setting.modality == "image" else TEXT_STAGES
    runs = measured.sequential
    ms = {name: statistics.median(1e3 * r.stage_seconds.get(name, 0.0) / r.items for r in runs) for name in names}
    whole = sum(ms.values())
    needs = _needs(measured, work, weights, precision)
    return [_row(name, ms[name], ms[name] / whole, needs.get(name), ceilings) for name in names]


#: Operations, bytes and precision of one item.
_Need = tuple[float, float, str]


def _needs(measured: Measured, work: Work, weights: int, precision: str) -> dict[str, _Need]:
    """Of the stages that do the model's arithmetic, or nothing but move bytes. Weights are read once a run."""
    first, size = measured.sequential[0], measured.setting.batch_size
    rows = 1 if first.path.endswith("onnxruntime int8") else size  # see runtime/tower.py
    head_precision = _HEAD_PRECISION.get(first.head, precision)
    decoder = work.decoder_size * _BYTES[head_precision]
    needs: dict[str, _Need] = {
        "backbone": (work.backbone, weights / rows + work.input_bytes + work.hidden_bytes, precision),
        "head": (work.head, decoder / rows + work.hidden_bytes, head_precision),
    }
    if measured.setting.modality == "image" and first.path.startswith("cpu"):
        needs["transfer"] = (0, 2 * work.input_bytes, precision)
    return needs


def _row(name: str, ms: float, share: float, need: _Need | None, ceilings: Ceilings) -> StageRow:
    if need is None or ms == 0:
        bound = "not used" if ms == 0 else _SERIAL.get(name, "bus" if name == "transfer" else _ONE_CORE)
        return StageRow(stage=name, ms=ms, share=share, bound=bound)
    operations, moved, precision = need
    least: Floor | None = floor(operations, moved, precision, ceilings)
    return StageRow(
        stage=name,
        ms=ms,
        share=share,
        bound=least.bound if least else f"arithmetic, {precision}: no ceiling measured",
        floor_ms=least.ms if least else None,
        of_ceiling=least.ms / ms if least else None,
        gflop_per_s=operations / ms / 1e6 if operations else None,
        gb_per_s=moved / ms / 1e6,
    )
