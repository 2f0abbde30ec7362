"""docs/performance.md is what its generator writes of the records beside it: nobody has typed a figure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import write_performance_doc as generator


def test_the_committed_document_is_the_generated_one() -> None:
    """After a new record: `python benchmarks/write_performance_doc.py`."""
    assert generator.DOCUMENT.read_text(encoding="utf-8") == generator.document()


def test_what_has_no_record_is_not_measured(tmp_path: Path) -> None:
    page = generator.document(tmp_path)
    for device in generator.DEVICES:
        assert f"| {device} | {generator.NOT_MEASURED} |" in page
    assert page.count(generator.NOT_MEASURED) >= 5 * len(generator.DEVICES) + 2


def test_a_record_becomes_tables(record: Path, tmp_path: Path) -> None:
    shutil.copy(record, tmp_path / "bench_cpu_random.json")
    page = generator.document(tmp_path)
    report = generator.read_report(record)
    assert f"| {report.machine['cpu']} | random | images, cpu f32, 1 thread, batch 2 |" in page
    for result in report.results:
        for row in result.stages:
            assert f"| {row.stage} | {row.ms:.3f} | {row.share:.1%} | {row.bound} |" in page
    assert "1 rounds are too few" in page
    assert "| NVIDIA H100 | not measured |" in page
    assert {line.count("|") for line in page.splitlines() if line.startswith("| ")} <= {5, 6, 7, 9}


def test_peers_are_held_against_the_fastest_sparse_encoder(tmp_path: Path) -> None:
    rows = [("lexlip-infer f32", 1.0), ("x SparseEncoder torch", 0.5), ("x SparseEncoder onnx", 0.8)]
    common = {"modality": "text", "batch_size": 16, "output": "equal", "items_per_s": 1, "low": 1, "high": 1}
    record = {"model": "m", "machine": {"cpu": "c"}, "threads": 2, "inputs": "i", "noise": [], "skipped": ["y: no z"]}
    record["results"] = [common | {"peer": name, "speed_of_ours_f32": speed} for name, speed in rows]
    (tmp_path / "peers_c.json").write_text(json.dumps(record))
    page = generator.document(tmp_path)
    assert "**1.25 times as fast** as the fastest of 2 backends" in page
    assert "(x SparseEncoder onnx)" in page
    assert "- not measured: y: no z" in page
