"""`lexlip check` on what lexlip-encode wrote and on what others did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def output(lexlip: Callable[..., Any], bundle_folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "t.txt").write_text("a dog\na cat near the water\nchildren play football\n")
    lexlip("encode", "--texts", tmp_path / "t.txt", "--output", tmp_path / "out", "--model", bundle_folder)
    return tmp_path / "out"


def test_our_own_output_has_no_error(lexlip: Callable[..., Any], output: Path) -> None:
    outcome = lexlip("check", output, "--json")
    assert (outcome.status, outcome.stderr) == (0, "")
    (report,) = json.loads(outcome.stdout)
    assert (report["kind"], report["items"], report["path"]) == ("collection", 3, str(output / "vectors"))
    assert {finding["severity"] for finding in report["findings"]} <= {"warning"}


def test_errors_decide_the_exit_status(lexlip: Callable[..., Any], output: Path) -> None:
    (output / "vectors" / "notes.txt").write_text("mine")
    outcome = lexlip("check", output)
    assert outcome.status == 3
    assert "error foreign-file x1: Anserini parses every file" in outcome.stdout


def test_what_lexlip_alone_refuses_is_a_warning(lexlip: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"id": "a", "vector": {"dog": 3.0}},\n{"id": "b", "vector": {"cat": 8}}]\n')
    outcome = lexlip("check", tmp_path / "a.json")
    assert outcome.status == 0
    assert "warning not-a-line x2: Anserini takes it" in outcome.stdout
    assert "warning number-spelling x1: Anserini takes 3.0" in outcome.stdout


def test_topics_alone_and_against_a_collection(lexlip: Callable[..., Any], output: Path, tmp_path: Path) -> None:
    topics = tmp_path / "q.tsv"
    topics.write_text("1\tnosuchterm\n")
    assert lexlip("check", topics).stdout.endswith("nothing found\n")
    outcome = lexlip("check", output, "--topics", topics)
    assert outcome.status == 0
    assert "warning unknown-term x1" in outcome.stdout


def test_nothing_there(lexlip: Callable[..., Any], tmp_path: Path) -> None:
    outcome = lexlip("check", tmp_path / "none")
    assert outcome.status == 2
    assert outcome.stderr.count("\n") == 1
