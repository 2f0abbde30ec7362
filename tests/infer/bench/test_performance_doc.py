"""docs/performance.md is what its generator writes of the records beside it: nobody has typed a figure."""

from __future__ import annotations

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
