"""docs/performance.md is what its generator writes of the records beside it: nobody has typed a figure."""

from __future__ import annotations

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
