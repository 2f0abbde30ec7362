"""Write docs/performance.md from the records in `results/`: no figure of it is typed by hand. Measures nothing.

    python benchmarks/write_performance_doc.py

Reads every `bench_*.json` (what `lexlip-bench --save` wrote), `peers_*.json`, `micro.json` and `index_cpu.json`. What
has no record is marked "not measured". A test compares the committed document with what this writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lexlip_infer.bench.presentation import name_of, warnings_of
from lexlip_infer.bench.report import Report, Result, read_report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"

NOT_MEASURED = "not measured"
#: Devices that the paths are written for: a word of the CPU's or GPU's name, by row.
DEVICES = {"CPU": "", "NVIDIA H100": "H100", "NVIDIA H200": "H200", "NVIDIA V100": "V100"}

INTRODUCTION = """\
# Performance

This page is written by `python benchmarks/write_performance_doc.py` from the records in `benchmarks/results/`; no
figure is typed by hand.

## How to read it

- **items/s** is the rate of `lexlip-encode`: from image files (or lines of text) to a part file on disk, stages
  overlapping. Starting decode workers is inside, loading the model is not; with few items a round it is below the
  rate of a long run.
- **Stages** are measured apart, one after the other, so that they add up to the time by the clock. *top-k* is what
  sorts kept terms into rows; kernels that select within the product count under *head*. *transfer* is putting the
  batch together, and on a GPU the copy to it.
- **Ceilings** are measured first, on the same machine: the fastest matrix product that ONNX Runtime or OpenVINO
  (torch on a GPU) does in each number format, and a copy. A stage's **floor** is the time its multiplications and
  additions (counted on the shapes of the model's own graph) would take at that ceiling, or its bytes at the speed
  of the copy, whichever is later; *of ceiling* is floor / time. The native head computes its scan in int8 and is
  held against that. A matrix product in cache-friendly squares is a ceiling that thin layers and depthwise
  convolutions cannot reach.
- **x floor** is the time of an item in the pipeline over all its operations at the ceiling of the setting's
  precision.
- Intervals are 95 %, from a bootstrap over processes first and batches within them after that.
"""

CLOSING = """\
## How to tune

- **Batch size** matters where weights dominate the bytes, above all for texts; the stage table's `bound by memory`
  says so. With ONNX Runtime's dynamic int8 it does not: that path runs a row at a time ([runtime.md](runtime.md)).
- **Threads**: by default as many lanes as threads, each with one thread ([pipeline.md](pipeline.md)). A process
  pinned to fewer cores takes those.
- **Decoding** shares the cores with inference: where decode and resize are a large part of the stages, smaller
  photographs help more than a faster model.
- **Precision**: `--precision int8` and OpenVINO's bf16 or int8 are faster and round differently; `lexlip eval` says
  what it costs in recall.

## How to reproduce

    lexlip-bench --stages                                                     # the shipped model, on your screen
    lexlip-bench --save before.json; lexlip-bench --compare before.json       # did a change help?

The records behind this page, on a machine that does nothing else:

    lexlip-bench --items 1000 --batch-sizes 1,16,32 --save benchmarks/results/bench_cpu_tiny.json
    lexlip-bench --preset lexlip-base --random-weights --precision f32,int8,openvino:bf16,openvino:int8 \\
      --batch-sizes 1,16 --items 96 --rounds 3 --words 38 --save benchmarks/results/bench_cpu_base.json
    lexlip-bench --peers --preset lexlip-base --random-weights --precision f32,openvino:f32,int8,openvino:int8 \\
      --batch-sizes 1,16 --words 38 --save benchmarks/results/peers_intel_r_xeon_r_processor.json
    python benchmarks/bench_index.py
    python benchmarks/micro.py
    python benchmarks/write_performance_doc.py

`lexlip-tiny` in these records is the model that shipped before, a MobileNetV2 at 320 pixels;
today's has not been timed like this.

A noisy machine is said to be one, here and by the command. Records of ours lie in
`benchmarks/results/`, with machine, versions and every single timing. The ONNX and OpenVINO backends of
sentence-transformers need the environment that `benchmarks/peers/sparse_encoder.txt` describes.
"""


def document(results: Path = RESULTS) -> str:
    """The whole page."""
    reports = [read_report(path) for path in sorted(results.glob("bench_*.json"))]
    parts = [INTRODUCTION, *_devices(reports), *_floors(reports)]
    for report in reports:
        parts += _report(report)
    parts += [*_peers(results), *_micro(results / "micro.json"), *_index(results / "index_cpu.json"), CLOSING]
    return "\n".join(parts)


def _devices(reports: Sequence[Report]) -> Iterator[str]:
    """One row a device and kind of input, of the fastest setting of each report."""
    yield "## What limits each device\n"
    rows = []
    for device, word in DEVICES.items():
        found = [
            (report, result)
            for report in reports
            for result in _fastest(report)
            if (result.setting.device == "cpu") == (word == "") and word in " ".join(report.machine["gpus"])
        ]
        rows += [_device_row(device, *pair) for pair in found] or [[device, *[NOT_MEASURED] * 5]]
    yield _table(["device", "model", "fastest setting", "items/s", "x floor", "most time goes to"], rows)


def _fastest(report: Report) -> list[Result]:
    """Of images and of texts."""
    best: dict[str, Result] = {}
    for result in report.results:
        old = best.get(result.setting.modality)
        if old is None or result.per_second.median > old.per_second.median:
            best[result.setting.modality] = result
    return list(best.values())


def _device_row(device: str, report: Report, result: Result) -> list[str]:
    name = device if device != "CPU" else str(report.machine["cpu"])
    slowest = max(result.stages, key=lambda row: row.ms)
    limit = f"{slowest.stage}, {slowest.share:.0%}: {slowest.bound}"
    if slowest.of_ceiling is not None:
        limit += f" ({slowest.of_ceiling:.0%} of the ceiling)"
    rate = _number(result.per_second.median)
    return [name, report.model["name"], name_of(result.setting), rate, _optional(result.times_floor), limit]


def _floors(reports: Sequence[Report]) -> Iterator[str]:
    """The best setting of each model, kind of input and path: files to JSON lines against operations at the ceiling."""
    yield "## Distance to the floor, end to end\n"
    best: dict[tuple[str, ...], Result] = {}
    for report in reports:
        for result in report.results:
            setting = result.setting
            key = (report.model["name"], setting.modality, setting.device, setting.backend, setting.precision)
            if key not in best or best[key].per_second.median < result.per_second.median:
                best[key] = result
    rows = [
        [
            *(key[0], name_of(result.setting)),
            *(f"{result.gflop_per_item:.2f}", f"{1e3 / result.per_second.median:.2f}"),
            *(_optional(result.floor_ms), _optional(result.times_floor)),
        ]
        for key, result in best.items()
    ]
    columns = ["model", "setting", "GFLOP an item", "ms an item", "floor ms", "x floor"]
    yield _table(columns, rows or [[NOT_MEASURED] * len(columns)])


def _report(report: Report) -> Iterator[str]:
    machine = report.machine
    gpus = "".join(f", {gpu}" for gpu in machine["gpus"])
    yield f"## {report.model['name']} on {machine['cpu']}, {machine['cpus_usable']} cores{gpus}\n"
    versions = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    known = f"Revision {machine['revision']}, Python {machine['python']}, {versions}."
    yield f"{report.inputs}; {report.rounds} rounds. {known}\n"
    for warning in warnings_of(report):
        yield f"**Noisy**: {warning}.\n"
    rows = [
        [each.device, str(each.threads), _rates(each.gflop_per_s, each.engine), f"{each.copy_gb_per_s:.1f}"]
        for each in report.ceilings
    ]
    yield _table(["ceilings of", "threads", "GFLOP/s", "copy GB/s"], rows)
    yield _results(report)
    yield "### Distance to the floor, stage by stage\n"
    for result in report.results:
        yield from _stages(result)


def _rates(rates: dict[str, float], engines: dict[str, str]) -> str:
    return ", ".join(f"{name} {_number(rate)} ({engines[name]})" for name, rate in rates.items())


def _results(report: Report) -> str:
    rows = []
    for result in report.results:
        rate, latency = result.per_second, result.latency_ms
        memory = f"{result.peak_rss_mb:.0f}"
        if result.device_memory_mb is not None:
            memory += f" + {result.device_memory_mb:.0f} on the GPU"
        rows.append(
            [
                name_of(result.setting),
                f"{_number(rate.median)} ({_number(rate.low)}-{_number(rate.high)})",
                _number(result.sequential_per_second.median),
                f"{latency.p50:.1f} / {latency.p95:.1f} / {latency.p99:.1f} ({latency.batches})",
                memory,
                _number(result.gflop_per_s),
                _optional(result.floor_ms),
                _optional(result.times_floor),
            ]
        )
    head = ["setting", "items/s (95 %)", "sequential", "batch ms p50 / p95 / p99 (batches)", "peak MB", "GFLOP/s"]
    return _table([*head, "floor ms", "x floor"], rows)


def _stages(result: Result) -> Iterator[str]:
    yield f"{name_of(result.setting)}; head {result.head}; stages are {result.accounted:.1%} of the time by the clock\n"
    rows = [
        [
            row.stage,
            f"{row.ms:.3f}",
            f"{row.share:.1%}",
            row.bound,
            *("" if value is None else form.format(value) for value, form in _figures(row)),
        ]
        for row in result.stages
    ]
    yield _table(["stage", "ms an item", "share", "bound by", "GFLOP/s", "GB/s", "floor ms", "of ceiling"], rows)


def _figures(row: Any) -> list[tuple[float | None, str]]:
    return [
        (row.gflop_per_s, "{:,.1f}"),
        (row.gb_per_s, "{:.2f}"),
        (row.floor_ms, "{:.3f}"),
        (row.of_ceiling, "{:.0%}"),
    ]


def _peers(results: Path) -> Iterator[str]:
    """Records of benchmarks/peers."""
    yield "## Peers, same shapes and inputs, in one run\n"
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("peers_*.json"))]
    for record in records:
        yield from _peer_record(record)
    if not records:
        yield f"{NOT_MEASURED}\n"


def _peer_record(record: dict[str, Any]) -> Iterator[str]:
    machine = record["machine"]
    yield (
        f"{record['model']} on {machine['cpu']}, {record['threads']} threads; {record['inputs']}. Pixels or texts to "
        "kept terms, without files; *equal* was checked on every input and batch size before anything was timed.\n"
    )
    yield from (f"**Noisy**: {warning}.\n" for noise in record["noise"] for warning in noise["warnings"])
    rows = [
        [
            *(row["peer"], f"{row['modality']}s", str(row["batch_size"])),
            f"{_number(row['items_per_s'])} ({_number(row['low'])}-{_number(row['high'])})",
            *(f"{row['speed_of_ours_f32']:.2f}", row["output"]),
        ]
        for row in record["results"]
    ]
    yield _table(["engine", "of", "batch", "items/s (95 %)", "x ours f32", "output"], rows)
    yield from _against_sparse_encoder(record["results"])
    yield from (f"- {NOT_MEASURED}: {line}\n" for line in record["skipped"])


def _against_sparse_encoder(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Ours in float32 beside the fastest of sentence-transformers' backends that gives the same vectors."""
    texts = [row for row in rows if row["modality"] == "text" and row["output"] == "equal"]
    for size in dict.fromkeys(row["batch_size"] for row in texts):
        theirs = [row for row in texts if row["batch_size"] == size and "SparseEncoder" in row["peer"]]
        if theirs:
            fastest = max(theirs, key=lambda row: row["speed_of_ours_f32"])
            ratio = 1 / fastest["speed_of_ours_f32"]
            yield (
                f"Texts, batch {size}: ours in f32 is **{ratio:.2f} times as fast** as the fastest of "
                f"{len(theirs)} backends of sentence-transformers measured here, at equal output ({fastest['peer']}).\n"
            )


def _micro(path: Path) -> Iterator[str]:
    yield "## Small costs\n"
    if not path.exists():
        yield f"{NOT_MEASURED}\n"
        return
    record = json.loads(path.read_text(encoding="utf-8"))
    machine = record["machine"]
    yield f"`python benchmarks/micro.py`, made-up data, one thread, {machine['cpu']}, {record['runs']} runs in turn.\n"
    for warning in record["noise"]["warnings"]:
        yield f"**Noisy**: {warning}.\n"
    rows = [
        [title, row["name"], f"{row['median'] * 1e3:,.1f}", f"{row['low'] * 1e3:,.1f}-{row['high'] * 1e3:,.1f}"]
        for title, contestants in record["results"].items()
        for row in contestants
    ]
    yield _table(["what", "by", "microseconds", "95 %"], rows)


def _index(path: Path) -> Iterator[str]:
    """Record of bench_index.py."""
    yield "## Exact index\n"
    if not path.exists():
        yield f"{NOT_MEASURED}\n"
        return
    record = json.loads(path.read_text(encoding="utf-8"))
    cpu = record["machine"]["cpu"]
    yield f"`python benchmarks/bench_index.py`, {record['data']}, {cpu}; queries of 32 terms, k = 10.\n"
    columns = {
        "documents": "documents",
        "terms_per_document": "terms",
        "build_s": "build s",
        "build_peak_mb": "peak MB",
        "bytes_a_posting": "bytes a posting",
        "open_ms": "open ms",
        "search_resident_mb": "resident MB",
        "qps_1_threads": "queries/s, 1 thread",
        "qps_2_threads": "2 threads",
    }
    yield _table([*columns.values()], [[f"{row[name]:,}" for name in columns] for row in record["results"]])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _optional(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


def main() -> None:
    """Write the page."""
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(DOCUMENT)


if __name__ == "__main__":
    main()
