"""`lexlip eval large-scale` from end to end on a handful of photographs: what needs no extra runs, and is continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer import LexLIPEncoder
from lexlip_infer.datasets import read_captioned_images
from lexlip_infer.evaluation.ranks import Recall, ranks_in_lists
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_kernels.impact_dot import ImpactIndex

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'lexlip-infer[viz]'")

Lexlip = Callable[..., Any]
OPTIONS = ("--system", "exact", "--rounds", 1, "--seconds", 0.01, "--threads", 1, "--image-top-k", 20)


def run(lexlip: Lexlip, captions: Path, output: Path, bundle: Path, *options: object) -> dict[str, Any]:
    outcome = lexlip("eval", "large-scale", captions, output, "--model", bundle, *OPTIONS, *options)
    assert outcome.status == 0, outcome.stderr
    found: dict[str, Any] = json.loads((output / "results.json").read_text())
    return found


def expected_recall(encoder: LexLIPEncoder, captions: Path, top_k: int) -> list[float]:
    """All captions but the first of each photograph, by the kernel itself."""
    data = read_captioned_images(captions, "dev")
    manifest = encoder.manifest
    settings = QuantisationSettings(manifest.quantisation.scale, manifest.quantisation.cap, True)
    images = quantise(encoder.encode_images(data.images, top_k=manifest.vocab_size).top_k(top_k), settings)
    rows = [row for row in range(len(data.owner)) if row and data.owner[row] == data.owner[row - 1]]
    texts = encoder.encode_texts([data.captions[row] for row in rows], top_k=manifest.top_k.text)
    order = np.argsort([image.name for image in data.images])  # ties come by document id
    ordered = encoder.encode_images([data.images[row] for row in order], top_k=manifest.vocab_size)
    documents = ImpactIndex.build(quantise(ordered.top_k(top_k), settings))
    assert len(images) == len(documents)
    found = documents.search(quantise(texts, settings), 10)
    place = np.argsort(order)
    own = place[[data.owner[row] for row in rows]]
    at = Recall.of(ranks_in_lists(found.rows, own, np.arange(len(documents))))
    return [at.at_1, at.at_5, at.at_10]


def test_recall_without_distractors(
    lexlip: Lexlip, captions_file: Path, bundle_folder: Path, tmp_path: Path, encoder: LexLIPEncoder
) -> None:
    found = run(lexlip, captions_file, tmp_path / "out", bundle_folder, "--system", "bag-of-words")
    assert [row["system"] for row in found["rows"]] == ["exact-top-20", "bag-of-words"]
    exact = found["rows"][0]
    assert exact["recall"] == pytest.approx(expected_recall(encoder, captions_file, 20))
    assert (exact["documents"], exact["synthetic"], exact["postings"]) == (12, 0, 20)
    speed = exact["speed"]["1"]
    assert 0 < speed["p50_ms"] <= speed["p95_ms"] <= speed["p99_ms"]
    assert exact["bytes"] > 12 * 20 * 6
    assert exact["peak"] >= exact["resident"] > exact["anonymous"] > 0


def test_distractors_are_counted_and_an_interrupted_run_goes_on(
    lexlip: Lexlip, captions_file: Path, bundle_folder: Path, encoded: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    found = run(lexlip, captions_file, output, bundle_folder, "--synthetic", 300, "--distractors", encoded)
    exact = found["rows"][0]
    assert (exact["documents"], exact["synthetic"]) == (12 + 5 + 300, 300)
    report = (output / "report.md").read_text()
    assert "5 real distractors and 300 **synthetic** ones" in report
    assert "Recall among synthetic documents is no measure of quality" in report
    for picture in output.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(list(output.glob("*.png"))) == 3
    assert not list((output / "data").glob("*/"))  # documents are gone once they are indexed

    journal = json.loads((output / "journal.json").read_text())
    build = journal["steps"]["build exact-top-20"]
    del journal["steps"]["search exact-top-20 round 1"]
    (output / "journal.json").write_text(json.dumps(journal))
    options = (*OPTIONS, "--synthetic", 300, "--distractors", encoded)
    outcome = lexlip("eval", "large-scale", captions_file, output, "--model", bundle_folder, *options)
    assert outcome.stderr.splitlines() == ["search exact-top-20 round 1"]
    assert json.loads((output / "journal.json").read_text())["steps"]["build exact-top-20"] == build


def test_refusals(lexlip: Lexlip, captions_file: Path, bundle_folder: Path, encoded: Path, tmp_path: Path) -> None:
    """Before anything is measured or written, in one line."""
    manifest = json.loads((encoded / "manifest.json").read_text())
    manifest["settings"]["top_k"] = 19
    (encoded / "manifest.json").write_text(json.dumps(manifest))
    for options, message in (
        (("--system", "lucene"), "--system lucene: expected one of exact, anserini"),
        (("--dense-images", "x"), "need both --dense-images and --dense-texts"),
        (("--distractors", encoded), "keeps 19 terms, the experiment compares up to 20"),
        (("--split", "none"), "no image of split 'none'"),
    ):
        outcome = lexlip(
            "eval", "large-scale", captions_file, tmp_path / "out", "--model", bundle_folder, *OPTIONS, *options
        )
        assert (outcome.status, outcome.stdout) == (2, ""), options
        assert len(outcome.stderr.splitlines()) == 1
        assert message in outcome.stderr
        assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else(lexlip: Lexlip, captions_file: Path, bundle_folder: Path) -> None:
    folder = captions_file.parent
    outcome = lexlip("eval", "large-scale", captions_file, folder, "--model", bundle_folder, *OPTIONS)
    assert outcome.status == 2
    assert "exists and holds no experiment" in outcome.stderr


def test_photographs_outside_of_the_folder(
    lexlip: Lexlip, captions_file: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"image": "/elsewhere/a.jpg", "captions": ["a"], "split": "dev"}))
    outcome = lexlip("eval", "large-scale", tmp_path / "c.jsonl", tmp_path / "o", "--model", bundle_folder, *OPTIONS)
    assert outcome.status == 2
    assert "/elsewhere/a.jpg: not below" in outcome.stderr
