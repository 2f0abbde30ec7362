"""Measures of run files against values computed by hand."""

from __future__ import annotations

from math import log2
from pathlib import Path

import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.evaluation.trec_measures import DEFAULT_MEASURES, measure_run

pytest.importorskip("ir_measures", reason="the extra `eval` is not installed")

JUDGEMENTS = "1 0 a 1\n1 0 b 1\n2 0 c 2\n3 0 d 1\n2 0 x 0\n"
RUN = "1 Q0 x 1 9.0 t\n1 Q0 a 2 8.0 t\n\n1 Q0 b 3 7.0 t\n2 Q0 c 1 3 t\n9 Q0 c 1 3 t\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "run").write_text(RUN)
    (tmp_path / "qrels").write_text(JUDGEMENTS)
    return tmp_path / "run", tmp_path / "qrels"


def test_by_hand(files: tuple[Path, Path]) -> None:
    found = measure_run(*files, ["RR", "R@2", "Success@1", "nDCG@3", "AP"])
    assert all(list(values) == ["1", "2", "3"] for values in found.values())
    ideal = 1 + 1 / log2(3)
    expected = {
        "RR": [1 / 2, 1, 0],
        "R@2": [1 / 2, 1, 0],
        "Success@1": [0, 1, 0],
        "nDCG@3": [(1 / log2(3) + 1 / 2) / ideal, 1, 0],
        "AP": [(1 / 2 + 2 / 3) / 2, 1, 0],
    }
    assert {name: list(values.values()) for name, values in found.items()} == {
        name: pytest.approx(values) for name, values in expected.items()
    }


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ((2, 2), "b"),
        ((2.000000001, 2), "b"),  # one 32-bit float
        ((2.000001, 2), "a"),
        ((1e300, 1e299), "b"),
        ((-3, -3), "b"),
    ],
)
def test_every_measure_breaks_ties_as_trec_eval_does(
    scores: tuple[float, float], best: str, files: tuple[Path, Path]
) -> None:
    """By id, descending, which trec_eval computes the first four of; ir-measures has its own ways for the others."""
    files[0].write_text("".join(f"1 Q0 {name} 1 {score} t\n" for name, score in zip("ab", scores, strict=True)))
    for relevant in "ab":
        files[1].write_text(f"1 0 {relevant} 1\n1 0 other 0\n")
        found = measure_run(*files, ["RR", "AP", "nDCG@1", "P@1", "RR@10", "Judged@1", "Success@1"])
        first = {name: values["1"] for name, values in found.items()}
        right, second = float(relevant == best), 1.0 if relevant == best else 0.5
        at_first = dict.fromkeys(("nDCG@1", "P@1", "Judged@1", "Success@1"), right)
        assert first == at_first | dict.fromkeys(("RR", "AP", "RR@10"), second)


def test_ids_are_ordered_by_bytes(files: tuple[Path, Path]) -> None:
    names = ["é", "z", "Z", "10", "9", "\U0001f600", "\uffee"]
    files[0].write_text("".join(f"1 Q0 {name} 1 1 t\n" for name in names), encoding="utf-8")
    for place, name in enumerate(sorted(names, key=str.encode, reverse=True), start=1):
        files[1].write_text(f"1 0 {name} 1\n", encoding="utf-8")
        found = measure_run(*files, ["RR", "RR@100"])
        assert found["RR"] == found["RR@100"] == {"1": pytest.approx(1 / place)}


def test_defaults_are_known(files: tuple[Path, Path]) -> None:
    assert list(measure_run(*files)) == list(DEFAULT_MEASURES)


@pytest.mark.parametrize(
    ("which", "text", "said"),
    [
        (0, "1 Q0 a 1 t\n", ":1: expected `query Q0 document rank score tag`"),
        (0, "\n1 Q0 a 1 high t\n", ":2: expected `query Q0 document rank score tag`"),
        (0, "1 Q0 a 1 nan t\n", ":1: expected `query Q0 document rank score tag`"),
        (0, "1 Q0 a 1 2 t\n1 Q0 a 2 1 t\n", ":2: document 'a' stands twice under query '1'"),
        (0, "7 Q0 a 1 2 t\n", "answers no query that"),
        (0, "", "answers no query that"),
        (1, "1 0 a\n", ":1: expected `query 0 document relevance`"),
        (1, "1 0 a 0.5\n", ":1: expected `query 0 document relevance`"),
    ],
)
def test_refused(which: int, text: str, said: str, files: tuple[Path, Path]) -> None:
    files[which].write_text(text)
    with pytest.raises(InputError, match=said):
        measure_run(*files, ["RR"])


def test_a_measure_that_fails(files: tuple[Path, Path]) -> None:
    files[0].write_text("1 Q0 a 1 2 t\n")
    with pytest.raises(InputError, match="Accuracy: cannot be computed by ir-measures here"):
        measure_run(*files, ["Accuracy"])


@pytest.mark.parametrize("name", ["recall", "R@x", "R@", ""])
def test_unknown_measures(name: str, files: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"unknown to ir-measures .*for example nDCG@10"):
        measure_run(*files, [name])


@pytest.mark.parametrize("name", ["nDCG@0", "P@99999999999999999999"])
def test_a_cutoff_that_trec_eval_would_abort_on(name: str, files: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="expected a cutoff from 1 to"):
        measure_run(*files, [name])
