"""`lexlip inspect` against counts made from the JSON files in plain Python."""

from __future__ import annotations

import json
import shutil
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def vectors_of(output: Path) -> list[dict[str, int]]:
    parts = output.glob("vectors/*")
    return [json.loads(line)["vector"] for part in parts for line in part.read_bytes().splitlines()]


@pytest.fixture
def uneven(lexlip: Callable[..., Any], bundle_folder: Path, tmp_path: Path) -> Path:
    """Texts of various lengths, with various numbers of terms."""
    (tmp_path / "t.txt").write_text("a dog\na cat near the water\nchildren play football\nred\n")
    lexlip(
        "encode", "--texts", tmp_path / "t.txt", "--output", tmp_path / "out", "--model", bundle_folder,
        "--top-k", 150, "--items-per-shard", 3,
    )  # fmt: skip
    return tmp_path / "out"


def test_figures(lexlip: Callable[..., Any], uneven: Path) -> None:
    outcome = lexlip("inspect", uneven, "--json", "--terms", 7)
    assert (outcome.status, outcome.stderr) == (0, "")
    found = json.loads(outcome.stdout)
    vectors = vectors_of(uneven)
    lengths = [len(vector) for vector in vectors]
    impacts = [impact for vector in vectors for impact in vector.values()]
    frequency = Counter(term for vector in vectors for term in vector)
    listed = found.pop("frequent_terms")
    assert found == {
        "model": "random",
        "top_k": 150,
        "scale": 100.0,
        "complete": True,
        "documents": 4,
        "failed": 0,
        "empty": 0,
        "vocab_size": 150,
        "active_terms": len(frequency),
        "terms_per_document": [min(lengths), statistics.median(lengths), max(lengths)],
        "impacts": len(impacts),
        "impact_sum": sum(impacts),
        "largest_impact": max(impacts),
        "part_files": 2,
        "size": sum(path.stat().st_size for path in uneven.glob("vectors/*")),
    }
    counts = [row["documents"] for row in listed]
    assert counts == [count for _, count in frequency.most_common(7)]
    assert all(frequency[row["term"]] == row["documents"] for row in listed)


def test_failed_and_empty_are_counted(
    lexlip: Callable[..., Any], bundle_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    shutil.copytree(photographs, tmp_path / "in")
    (tmp_path / "in" / "x.png").touch()
    lexlip("encode", "--images", tmp_path / "in", "--output", tmp_path / "out", "--model", bundle_folder)
    found = json.loads(lexlip("inspect", tmp_path / "out", "--json").stdout)
    assert (found["documents"], found["failed"], found["empty"]) == (5, 1, 0)


def test_for_people(lexlip: Callable[..., Any], uneven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    outcome = lexlip("inspect", uneven, "--terms", 3)
    assert (outcome.status, outcome.stderr) == (0, "")
    lines = [line.rstrip() for line in outcome.stdout.splitlines()]
    sizes = [path.stat().st_size for path in uneven.glob("vectors/*")]
    assert lines[0].split(maxsplit=1) == ["model", "random, top-150, impacts x100"]
    assert lines[1].split(maxsplit=1) == ["state", "complete"]
    assert f"{sum(sizes) / 1e6:,.2f} MB in 2 part files" in lines[6]
    assert len(lines) == 7 + 2 + 3
    assert all("%" in line for line in lines[-3:])


def test_without_terms(lexlip: Callable[..., Any], uneven: Path) -> None:
    assert "frequent" not in lexlip("inspect", uneven, "--terms", 0).stdout


def test_an_interrupted_run(lexlip: Callable[..., Any], uneven: Path) -> None:
    """The second shard is in place, but the kill came before the manifest knew: it has not happened."""
    manifest = json.loads((uneven / "manifest.json").read_bytes())
    manifest |= {"complete": False, "shards": manifest["shards"][:1]}
    (uneven / "manifest.json").write_text(json.dumps(manifest))
    found = json.loads(lexlip("inspect", uneven, "--json").stdout)
    assert (found["complete"], found["documents"], found["part_files"]) == (False, 3, 1)
    assert "incomplete: the run was interrupted" in lexlip("inspect", uneven).stdout


def test_interrupted_before_the_first_shard(lexlip: Callable[..., Any], uneven: Path) -> None:
    manifest = json.loads((uneven / "manifest.json").read_bytes()) | {"complete": False, "shards": []}
    (uneven / "manifest.json").write_text(json.dumps(manifest))
    for part in uneven.glob("vectors/*"):
        part.unlink()
    outcome = lexlip("inspect", uneven)
    assert outcome.status == 2
    assert "interrupted early; the same lexlip-encode command continues it" in outcome.stderr
