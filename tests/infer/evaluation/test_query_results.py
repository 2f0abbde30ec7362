"""What every query got: written, read back, refused, and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.evaluation import query_results
from lexlip_infer.evaluation.query_results import QueryResults, Section, compare_systems
from lexlip_infer.evaluation.significance import compare_paired


def results(ranks: list[int], order: list[int] | None = None, name: str = "task") -> QueryResults:
    rows = order or list(range(len(ranks)))
    queries, clusters = [f"q{row}" for row in rows], [f"c{row // 2}" for row in rows]
    section = Section.of_ranks(queries, clusters, np.array(ranks)[rows], (1, 5))
    return QueryResults(system="a system", data="some data", sections={name: section})


def test_round_trip(tmp_path: Path) -> None:
    written = results([1, 3, 9])
    assert written.sections["task"].measures == {"R@1": [1, 0, 0], "R@5": [1, 1, 0], "rank": [1, 3, 9]}
    written.save(tmp_path / "a.json")
    assert QueryResults.load(tmp_path / "a.json") == written
    with pytest.raises(OutputError, match="exists"):
        written.save(tmp_path / "a.json")


def one_section(queries: str, values: str) -> str:
    section = f'{{"queries": {queries}, "clusters": {queries}, "measures": {{"R@1": {values}}}}}'
    return f'{{"system": "", "data": "", "sections": {{"a": {section}}}}}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not what lexlip eval --save writes"),
        ("{}", "system: Field required"),
        ('{"system": "", "data": "", "sections": {}, "version": 2}', "version: Input should be 1"),
        (one_section('["q", "q"]', "[1, 0]"), "queries must be distinct"),
        (one_section('["q"]', "[1, 0]"), "queries must be distinct"),
        (one_section("[]", "[]"), "queries must be distinct"),
        (one_section('["q"]', "[NaN]"), "finite number"),
    ],
)
def test_files_that_are_something_else(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=said):
        QueryResults.load(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        QueryResults.load(tmp_path / "b.json")


def test_queries_are_matched_by_id() -> None:
    first, second = [1, 1, 7, 2, 1, 3], [2, 1, 1, 1, 9, 1]
    found = compare_systems(results(first), results(second, order=[3, 5, 0, 1, 4, 2]), resamples=300)
    assert [(row.section, row.measure) for row in found] == [("task", name) for name in ("R@1", "R@5", "rank")]
    hits = [(np.array(ranks) <= 1).astype(float) for ranks in (first, second)]
    assert found[0].comparison == compare_paired(hits[0], hits[1], np.arange(6) // 2, resamples=300)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="no measure of a task is in both: one file has 'task', the other 'other'"):
        compare_systems(results([1]), results([1], name="other"))
    with pytest.raises(InputError, match="task: queries in one file alone: 1, such as 'q2'"):
        compare_systems(results([1, 1, 1]), results([1, 1]))
    one = results([1, 1])
    section = one.sections["task"].model_copy(update={"clusters": ["c0", "c1"]})
    with pytest.raises(InputError, match="different clusters"):
        compare_systems(one, one.model_copy(update={"sections": {"task": section}}))


def test_files_are_read_under_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_bytes(b" " * 101)
    monkeypatch.setattr(query_results, "_LARGEST", 100)
    with pytest.raises(InputError, match="larger than 0 MiB, the most that is read"):
        QueryResults.load(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"b\.json: cannot be read"):
        QueryResults.load(tmp_path / "b.json")
