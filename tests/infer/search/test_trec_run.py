"""Run files: what trec_eval reads from them is the ranking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.search.engine import Ranking
from lexlip_infer.search.trec_run import decreasing, read_trec_run, trec_lines, write_trec_run


@given(st.lists(st.integers(0, 2**31) | st.integers(0, 5), max_size=50))
def test_scores_strictly_decrease_as_32_bit_floats(scores: list[int]) -> None:
    ordered = np.array(sorted(scores, reverse=True), np.float64)
    moved = decreasing(ordered)
    assert (np.diff(moved) < 0).all()
    read = np.array([float(f"{score:.9g}") for score in moved]).astype(np.float32)
    np.testing.assert_array_equal(read, moved)


def test_only_ties_are_moved() -> None:
    assert decreasing(np.array([9.0, 5.0, 4.0])).tolist() == [9.0, 5.0, 4.0]
    moved = decreasing(np.array([9.0, 5.0, 5.0, 5.0, 4.0]))
    assert moved[[0, 1, 4]].tolist() == [9.0, 5.0, 4.0]
    assert (np.rint(moved) == [9, 5, 5, 5, 4]).all()


def test_there_and_back(tmp_path: Path) -> None:
    ranking = Ranking([["b", "é/a.jpg"], [], ["z"]], [np.array([7.0, 7.0]), np.zeros(0), np.array([2.5])])
    write_trec_run(tmp_path / "run", ["q1", "q2", "3"], ranking, "mine")
    first, second, third = (tmp_path / "run").read_text(encoding="utf-8").splitlines()
    assert (first, third) == ("q1 Q0 b 1 7 mine", "3 Q0 z 1 2.5 mine")
    assert second.startswith("q1 Q0 é/a.jpg 2 6.99999")
    read = read_trec_run(tmp_path / "run")
    assert {query: list(documents) for query, documents in read.items()} == {"q1": ["b", "é/a.jpg"], "3": ["z"]}
    assert read["3"] == {"z": 2.5}
    with pytest.raises(OutputError, match="exists"):
        write_trec_run(tmp_path / "run", ["q1", "q2", "3"], ranking, "mine")


@pytest.mark.parametrize(
    ("query", "name", "tag"), [("q 1", "d", "t"), ("q", "a b.jpg", "t"), ("q", "d", ""), ("", "d", "t")]
)
def test_what_a_run_cannot_hold(query: str, name: str, tag: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot stand in a TREC run"):
        write_trec_run(tmp_path / "run", [query], Ranking([[name]], [np.ones(1)]), tag)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", ["q Q0 e 1 2.0", "q Q0 e 1 high tag", "q Q0 e x 1 2.0 tag", "q Q0 e 1 nan tag"])
def test_no_run(line: str, tmp_path: Path) -> None:
    (tmp_path / "run").write_text(f"q Q0 d 1 2.0 tag\n{line}\n")
    with pytest.raises(InputError, match="run:2: expected `query Q0 document rank score tag`"):
        read_trec_run(tmp_path / "run")


def test_no_line_leaves_before_every_id_is_checked() -> None:
    ranking = Ranking([["a"], ["b c"]], [np.ones(1), np.ones(1)])
    with pytest.raises(InputError, match="'b c'"):
        next(trec_lines(["1", "2"], ranking, "t"))
