"""`lexlip calibrate`: its figures are those of `lexlip eval`, its recommendation the cheapest that is good enough."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import InputError
from lexlip_infer.evaluation.calibration import Calibration, Outcome
from lexlip_infer.evaluation.ranks import Recall

Lexlip = Callable[..., Any]


@pytest.fixture
def own_bundle(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def run(lexlip: Lexlip, captions: Path, bundle: Path, *options: object) -> dict[str, Any]:
    outcome = lexlip("calibrate", captions, "--model", bundle, "--json", "--tolerance", 100, *options)
    assert outcome.status == 0, outcome.stderr
    found: dict[str, Any] = json.loads(outcome.stdout)
    return found


def figures(recall: dict[str, float]) -> dict[str, float]:
    return {name.replace("at_", "r@"): round(value, 2) for name, value in recall.items()}


def test_figures_are_those_of_eval(lexlip: Lexlip, captions_file: Path, bundle_folder: Path) -> None:
    found = run(lexlip, captions_file, bundle_folder, "--image-top-k", 9, "--image-top-k", 40, "--bits", 8)
    assert [(row["image_top_k"], row["bits"]) for row in found["outcomes"]] == [(9, 8), (40, 8)]
    for row in found["outcomes"]:
        outcome = lexlip(
            "eval", captions_file, "--model", bundle_folder, "--json",
            "--image-top-k", row["image_top_k"], "--quant-scale", row["scale"],
        )  # fmt: skip
        expected = json.loads(outcome.stdout)
        for name in ("text_to_image", "image_to_text"):
            assert figures(row[name]) == expected[name]
            assert figures(found[name]) == expected[f"{name}_full"]
        mean, full = (
            sum(sum(at[name].values()) for name in ("text_to_image", "image_to_text")) / 6 for at in (row, found)
        )
        assert row["loss"] == pytest.approx(full - mean)
        assert row["postings"] == row["image_top_k"]


def test_fewer_bits_are_smaller_impacts(lexlip: Lexlip, captions_file: Path, bundle_folder: Path) -> None:
    rows = run(lexlip, captions_file, bundle_folder, "--image-top-k", 20, "--bits", 8, "--bits", 2)["outcomes"]
    assert [row["bits"] for row in rows] == [2, 8]
    assert 20 <= rows[0]["impact_sum"] <= 3 * 20 < rows[1]["impact_sum"] <= 255 * 20


def test_terms_that_a_scale_makes_nothing_of(lexlip: Lexlip, captions_file: Path, bundle_folder: Path) -> None:
    """With one bit all impacts are 1; with many, few weights are too small for the scale."""
    options = ("--image-top-k", 40, "--bits", 1, "--bits", 12)
    rows = run(lexlip, captions_file, bundle_folder, *options)["outcomes"]
    assert rows[0]["lifted"] > 0.05 > rows[1]["lifted"] >= 0
    table = lexlip("calibrate", captions_file, "--model", bundle_folder, "--tolerance", 100, *options)
    assert "have weights that this scale makes less than 1, and count as 1: try more --bits" in table.stderr
    assert f"{rows[0]['lifted']:.1%}" in table.stdout


def test_the_recommendation_goes_into_the_bundle(lexlip: Lexlip, captions_file: Path, own_bundle: Path) -> None:
    before = Bundle.open(own_bundle)
    rows = run(lexlip, captions_file, own_bundle, "--write", "--text-top-k", 7)["outcomes"]
    cheapest = min(rows, key=lambda row: (row["postings"], row["impact_sum"]))
    after = Bundle.open(own_bundle)
    assert (after.manifest.top_k.image, after.manifest.top_k.text) == (cheapest["image_top_k"], 7)
    assert after.manifest.quantisation.scale == cheapest["scale"]
    assert after.manifest.quantisation.cap == 2 ** cheapest["bits"] - 1
    assert after.fingerprint != before.fingerprint
    assert after.manifest.files == before.manifest.files


def test_the_shipped_model_is_not_changed(lexlip: Lexlip, captions_file: Path) -> None:
    outcome = lexlip("calibrate", captions_file, "--write")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert "name the folder of your own copy with --model" in outcome.stderr


def test_no_setting_is_good_enough() -> None:
    recall = Recall(10.0, 20.0, 30.0)
    outcomes = tuple(Outcome(8, k, 9, 100.0, recall, recall, 60.0 / k, k, 99.0 * k, 0.0) for k in (10, 20, 40))
    calibration = Calibration(recall, recall, outcomes)
    assert calibration.recommend(3.0).image_top_k == 20
    with pytest.raises(InputError, match=r"no setting loses at most 1 points.*top-40 with 8 bits, loses 1\.50"):
        calibration.recommend(1.0)


def test_picture(lexlip: Lexlip, captions_file: Path, bundle_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'lexlip-infer[viz]'")
    run(lexlip, captions_file, bundle_folder, "--image-top-k", 5, "--bits", 2, "--plot", tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
