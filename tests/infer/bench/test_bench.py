"""`lexlip-bench` from its options to its record, on a small random model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lexlip_infer.bench import inputs, stages
from lexlip_infer.bench import run as bench_run
from lexlip_infer.bench.inputs import write_inputs
from lexlip_infer.bench.presentation import draw_report
from lexlip_infer.bench.report import Report, compare_reports, differences, read_report, save_report
from lexlip_infer.bench.settings import Job, settings_grid
from lexlip_infer.bench.stages import IMAGE_STAGES, TEXT_STAGES
from lexlip_infer.bench.worker import Sample, run_worker
from lexlip_infer.bundle import Bundle
from lexlip_infer.cli.bench import app
from lexlip_infer.errors import BackendUnavailable, InputError, LexLIPError
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_infer.inputs.texts import TextTokenizer
from lexlip_infer.runtime.opening import open_tower
from lexlip_infer.runtime.tower import Tower

runner = CliRunner()


def test_the_record_holds_what_the_tables_say(record: Path) -> None:
    report = read_report(record)
    assert [result.setting.modality for result in report.results] == ["image", "text"]
    for result, names in zip(report.results, (IMAGE_STAGES, TEXT_STAGES), strict=True):
        assert [row.stage for row in result.stages] == list(names)
        assert sum(row.share for row in result.stages) == pytest.approx(1)
        assert result.setting.device == "cpu"
        assert result.setting.precision == "f32"
        assert result.latency_ms.batches == 2
        assert result.latency_ms.p50 <= result.latency_ms.p95 <= result.latency_ms.p99
        assert result.peak_rss_mb > 20
        assert result.floor_ms > 0
        used = [row for row in result.stages if row.stage in ("backbone", "head")]
        assert all(row.gflop_per_s and row.gb_per_s and row.floor_ms for row in used)
    assert report.machine["packages"]
    assert len(report.noise) == 2


@pytest.mark.parametrize("modality", ["image", "text"])
def test_stage_times_add_up_to_the_time_by_the_clock(
    modality: str, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock stands still but for what is known to be work; every second of it is counted, once, in its place."""
    clock = WorkClock()
    for owner, name, seconds in (
        (stages, "load_image", 1),
        (ImagePreprocessor, "__call__", 10),
        (TextTokenizer, "__call__", 100),
        (stages, "quantise", 1000),
    ):
        monkeypatch.setattr(owner, name, clock.counting(getattr(owner, name), seconds))
    monkeypatch.setattr(stages, "open_tower", lambda *args: slow_tower(open_tower(*args), clock))
    made = tmp_path / "made"
    write_inputs(Bundle.open(bundle_folder), made, 2, 32, 5)
    place = made / ("images" if modality == "image" else "texts.jsonl")
    (setting,) = settings_grid([modality], "cpu", "f32", [1], [32])  # type: ignore[list-item]
    job = Job(setting=setting, mode="sequential", model=bundle_folder, inputs=place, items=128)
    run = stages.run_sequential(job, tmp_path / "lines.jsonl", now=clock.now)
    assert run.items == 128
    assert len(run.batch_seconds) == 4
    prepared = {"decode": 128, "resize": 1280} if modality == "image" else {"tokenise": 400}
    expected = {"backbone": 4 * 10_000, "head": 4 * 100_000, "quantise": 4000} | prepared
    assert {name: seconds for name, seconds in run.stage_seconds.items() if seconds} == expected
    named = IMAGE_STAGES if modality == "image" else tuple(name for name in TEXT_STAGES if name != "transfer")
    assert set(run.stage_seconds) == set(named)
    assert run.wall_seconds == sum(run.batch_seconds) == sum(expected.values())


class WorkClock:
    """Time passes in the functions that it was told of, and nowhere else."""

    def __init__(self) -> None:
        self.passed = 0

    def now(self) -> float:
        return self.passed

    def counting(self, run: Callable[..., Any], seconds: int) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.passed += seconds
            return run(*args, **kwargs)

        return counted


def slow_tower(tower: Tower, clock: WorkClock) -> Tower:
    return tower.with_parts(clock.counting(tower.backbone, 10_000), clock.counting(tower.head, 100_000))


def test_sequential_and_pipelined_write_the_same_lines(bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    """Otherwise one of the two would be measuring something else."""
    from lexlip_infer.bench.stages import run_sequential
    from lexlip_infer.bench.worker import run_pipelined

    (setting,) = settings_grid(["image"], "cpu", "f32", [1], [5])
    job = Job(setting=setting, mode="sequential", model=bundle_folder, inputs=photographs, items=5)
    run_sequential(job, tmp_path / "lines.jsonl", warm_up=0)
    run_pipelined(job, tmp_path)
    (part,) = (tmp_path / "out" / "vectors").iterdir()
    assert part.read_bytes() == (tmp_path / "lines.jsonl").read_bytes()


def test_a_worker_that_cannot_run_says_why_in_one_line(bundle_folder: Path, photographs: Path) -> None:
    (setting,) = settings_grid(["image"], "cpu", "int8", [1], [1])
    job = Job(setting=setting, mode="sequential", model=bundle_folder, inputs=photographs, items=1)
    with pytest.raises(BackendUnavailable, match="int8") as raised:
        run_worker(job)
    assert "\n" not in str(raised.value)


def test_a_setting_that_cannot_run_is_refused_before_anything_is_measured(bundle_folder: Path) -> None:
    done = runner.invoke(app, ["--model", str(bundle_folder), "--precision", "f32,int8", "--synthetic", "1"])
    assert isinstance(done.exception, BackendUnavailable)
    assert "int8" in str(done.exception)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset", "lexlip-base"], "--random-weights"),
        (["--random-weights"], "--preset"),
        (["--preset", "lexlip-base", "--random-weights", "--model", "x"], "either"),
        (["--images", "x", "--synthetic", "3"], "either"),
        (["--modality", "sound"], "image, text or both"),
        (["--batch-sizes", "0"], "--batch-sizes"),
        (["--save", "/nowhere/at/all.json"], "no such folder"),
        (["--save", "/"], "a folder"),
        (["--plot", __file__], "a file"),
        (["--compare", "/nowhere.json"], "cannot be read"),
    ],
)
def test_bad_options_end_in_one_line(options: list[str], said: str) -> None:
    error = runner.invoke(app, options).exception
    assert isinstance(error, LexLIPError)
    assert said in str(error)


def test_the_export_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs.importlib.util, "find_spec", lambda _: None)
    error = runner.invoke(app, ["--preset", "lexlip-base", "--random-weights"]).exception
    assert isinstance(error, LexLIPError)
    assert "lexlip-infer[export]" in str(error)


def test_a_report_against_itself_shows_no_difference(record: Path) -> None:
    report = read_report(record)
    assert {change.pipelined_verdict for change in compare_reports(report, report)} == {"no difference shown"}
    assert differences(report, report) == []
    elsewhere = report.model_copy(update={"machine": {**report.machine, "cpu": "another"}})
    assert "another" in differences(elsewhere, report)[0]
    with pytest.raises(InputError, match="baseline"):
        compare_reports(report.model_copy(update={"results": []}), report)


def test_a_report_twice_as_fast_is_faster(record: Path) -> None:
    report = read_report(record)
    results = [
        result.model_copy(
            update={"seconds_per_item": [level, level * 1.01, level * 1.02], "batch_seconds": [[level] * 4] * 3}
        )
        for result in report.results
        for level in [0.1]
    ]
    slow = report.model_copy(update={"results": results})
    fast = report.model_copy(
        update={
            "results": [
                result.model_copy(
                    update={
                        "seconds_per_item": [s / 2 for s in result.seconds_per_item],
                        "batch_seconds": [[s / 2 for s in each] for each in result.batch_seconds],
                    }
                )
                for result in results
            ]
        }
    )
    for change in compare_reports(slow, fast):
        assert (change.pipelined_verdict, change.sequential_verdict) == ("faster", "faster")
        assert change.pipelined.median == pytest.approx(2)


def test_a_damaged_record_is_refused(record: Path, tmp_path: Path) -> None:
    data = json.loads(record.read_text())
    del data["ceilings"]
    (tmp_path / "bad.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="ceilings"):
        read_report(tmp_path / "bad.json")


def test_an_interrupt_keeps_the_rounds_that_are_complete(
    bundle_folder: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And before the first is complete there is nothing to keep."""
    plan = bench_run.Plan(
        Bundle.open(bundle_folder),
        settings_grid(["image"], "cpu", "f32", [1], [1, 2]),
        {"image": photographs},
        2,
        3,
        "",
    )

    def interrupted_after(count: int) -> dict[int, list[Sample]]:
        calls = iter(range(count))

        def worker(_: Job) -> Sample:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return Sample()

        monkeypatch.setattr(bench_run, "run_worker", worker)
        return bench_run._samples(plan, said.append)

    said: list[str] = []
    assert [len(samples) for samples in interrupted_after(7).values()] == [2, 2]
    assert "1 of 3 rounds" in said[-1]
    with pytest.raises(KeyboardInterrupt):
        interrupted_after(3)


def test_a_saved_report_is_read_back_as_it_was(record: Path, tmp_path: Path) -> None:
    report = read_report(record)
    save_report(report, tmp_path / "again.json")
    assert read_report(tmp_path / "again.json") == report
    assert [path.name for path in tmp_path.iterdir()] == ["again.json"]


def test_pictures_are_drawn(record: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report: Report = read_report(record)
    paths = draw_report(report, tmp_path / "plots")
    assert [path.name for path in paths] == ["roofline.png", "stages.png", "throughput.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom lexlip_infer.cli.bench import run\nsys.argv = ['lexlip-bench', '--help']\n"
    code += "try:\n    run()\nexcept SystemExit:\n    print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--batch-sizes" in done.stdout
    heavy = {"torch", "onnxruntime", "onnx", "numba", "matplotlib", "pydantic", "numpy", "rich", "openvino", "PIL"}
    assert not heavy & set(done.stdout.split("\n")[-2].split())
