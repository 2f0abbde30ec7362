"""The commands of `lexlip eval` beside the default one, and what they hand to each other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer import LexLIPEncoder
from lexlip_infer.evaluation.plots import PICTURES

Lexlip = Callable[..., Any]


def test_the_default_command(lexlip: Lexlip, captions_file: Path, bundle_folder: Path) -> None:
    plain = lexlip("eval", captions_file, "--model", bundle_folder, "--json")
    assert plain.status == 0, plain.stderr
    assert lexlip("eval", "retrieval", captions_file, "--model", bundle_folder, "--json") == plain
    assert lexlip("eval", "--json", "--model", bundle_folder, captions_file) == plain


@pytest.mark.parametrize("command", ["retrieval", "zero-shot", "run", "compare"])
def test_help(command: str, lexlip: Lexlip) -> None:
    outcome = lexlip("eval", command, "--help")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert command in lexlip("eval", "-h").stdout.split("Commands:")[1]
    assert f"lexlip eval {command} [OPTIONS]" in outcome.stdout


def test_nothing_to_measure(lexlip: Lexlip) -> None:
    outcome = lexlip("eval")
    assert outcome.status == 2
    assert "Commands:" in outcome.stdout + outcome.stderr


def test_a_slip_of_the_hand(lexlip: Lexlip, captions_file: Path) -> None:
    outcome = lexlip("eval", "retrival", captions_file)
    assert outcome.status == 2
    assert outcome.stderr == "lexlip: retrival: no such command, and no such file; did you mean retrieval?\n"
    assert "cannot be read" in lexlip("eval", "missing.jsonl").stderr


def test_intervals_and_ranks(lexlip: Lexlip, captions_file: Path, bundle_folder: Path) -> None:
    outcome = lexlip("eval", captions_file, "--model", bundle_folder, "--json", "--folds", 3)
    found = json.loads(outcome.stdout)
    assert found["folds"] == 3
    for name in ("text_to_image", "text_to_image_full", "image_to_text", "image_to_text_full"):
        for cutoff, (low, high) in found["intervals_95"][name].items():
            assert 0 <= low <= found[name][cutoff] <= high <= 100
        assert found["ranks"][name]["median"] >= 1
    assert found["text_to_image_full"]["r@5"] == 100 or found["ranks"]["text_to_image_full"]["mean"] > 1


def test_two_runs_compared(lexlip: Lexlip, captions_file: Path, bundle_folder: Path, tmp_path: Path) -> None:
    for name, top_k in (("a", 100), ("b", 2)):
        saved = tmp_path / f"{name}.json"
        run = lexlip("eval", captions_file, "--model", bundle_folder, "--text-top-k", top_k, "--save", saved)
        assert run.status == 0, run.stderr
    outcome = lexlip("eval", "compare", tmp_path / "a.json", tmp_path / "b.json", "--json", "--resamples", 200)
    found = json.loads(outcome.stdout)
    rows = {(row["section"], row["measure"]): row["comparison"] for row in found["measures"]}
    assert len(rows) == 4 * 4
    assert rows["text to image, full vectors", "R@1"]["difference"] == 0
    assert rows["text to image, full vectors", "R@1"]["p_value"] == 1
    impacts = rows["text to image, impacts", "rank"]
    assert impacts["difference"] == pytest.approx(impacts["second"] - impacts["first"])
    assert found["first"] == "random, integers x100, image top-24, text top-100, exact search"
    table = lexlip("eval", "compare", tmp_path / "a.json", tmp_path / "b.json", "--resamples", 200).stdout
    assert len(table.splitlines()) == 2 + 1 + 16


def test_saving_is_refused_before_anything_is_encoded(
    lexlip: Lexlip, captions_file: Path, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LexLIPEncoder, "encode_images", None)
    (tmp_path / "a.json").touch()
    for name, said in (("a.json", "exists"), ("none/a.json", "there is no folder")):
        outcome = lexlip("eval", captions_file, "--model", bundle_folder, "--save", tmp_path / name)
        assert (outcome.status, outcome.stdout) == (2, "")
        assert said in outcome.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--protocol", "mscoco"), "there is no such protocol; expected coco-5k, coco-1k, flickr30k, flickr8k"),
        (("--protocol", "coco-1k"), "coco-1k is measured on 5,000 photographs, the file's split has 12"),
        (("--protocol", "coco-1k", "--folds", "2"), "has its own folds; leave --folds 2 out"),
        (("--folds", "5"), "12 photographs cannot be divided into 5 equal folds"),
        (("--images", "/none"), "/none: no such folder"),
        (("--plot", "/dev/null"), "/dev/null: is no folder"),
    ],
)
def test_refused(options: tuple[str, ...], said: str, lexlip: Lexlip, captions_file: Path, bundle_folder: Path) -> None:
    outcome = lexlip("eval", captions_file, "--model", bundle_folder, *options)
    assert (outcome.status, outcome.stdout) == (2, "")
    (message,) = outcome.stderr.splitlines()
    assert said in message


def test_plots(lexlip: Lexlip, captions_file: Path, bundle_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `viz` is not installed")
    outcome = lexlip("eval", captions_file, "--model", bundle_folder, "--plot", tmp_path / "plots", "--json")
    assert outcome.status == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(PICTURES)
    assert [point["image_top_k"] for point in found["sweep_kept_terms"]] == [8, 16, 32, 64, 128]
    assert [point["bits"] for point in found["sweep_bits"]] == [1, 2, 3, 4, 6, 8]
    assert all(point["text_to_image_microseconds"] > 0 for point in found["sweep_kept_terms"])


def test_zero_shot(lexlip: Lexlip, photographs: Path, bundle_folder: Path, tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        (tmp_path / "data" / name).mkdir(parents=True)
    shutil.copy(photographs / "a.jpg", tmp_path / "data" / "dog")
    shutil.copy(photographs / "b.png", tmp_path / "data" / "cat")
    arguments = ("eval", "zero-shot", tmp_path / "data", "--model", bundle_folder)
    outcome = lexlip(*arguments, "--json", "--save", tmp_path / "a.json")
    assert (outcome.status, outcome.stderr) == (0, "")
    found = json.loads(outcome.stdout)
    assert (found["classes"], found["images"], len(found["templates"])) == (2, 2, 7)
    assert found["full"]["top_1"] in (0, 50, 100)
    assert found["full"]["top_5"] == 100
    assert len(lexlip(*arguments).stdout.splitlines()) == 4
    assert lexlip("eval", "compare", tmp_path / "a.json", tmp_path / "a.json").status == 0


def test_run(lexlip: Lexlip, tmp_path: Path) -> None:
    pytest.importorskip("ir_measures", reason="the extra `eval` is not installed")
    (tmp_path / "qrels").write_text("1 0 a 1\n2 0 b 1\n")
    (tmp_path / "run").write_text("1 Q0 a 1 2 t\n2 Q0 a 1 2 t\n2 Q0 b 2 1 t\n")
    arguments = ("eval", "run", tmp_path / "run", tmp_path / "qrels", "-m", "RR", "-m", "R@1")
    outcome = lexlip(*arguments, "--json", "--save", tmp_path / "a.json")
    assert (outcome.status, outcome.stderr) == (0, "")
    found = json.loads(outcome.stdout)
    assert found["queries"] == 2
    assert {name: row["mean"] for name, row in found["measures"].items()} == {"RR": 0.75, "R@1": 0.5}
    assert found["measures"]["R@1"]["interval_95"] == [0, 1]
    assert lexlip(*arguments).stdout.splitlines()[1].split() == ["RR", "0.7500", "[0.5000,", "1.0000]"]
    assert lexlip("eval", "compare", tmp_path / "a.json", tmp_path / "a.json").status == 0
