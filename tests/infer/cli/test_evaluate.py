"""`lexlip eval` against a recall computed with dictionaries and sorted lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.datasets import read_captioned_images
from lexlip_infer.impacts import QuantisationSettings, reference


def impacts_of(batch: SparseBatch, k: int) -> list[dict[int, int]]:
    """The k heaviest terms of each row as integers, ties to the lower id."""
    rows = []
    for row in range(len(batch)):
        pairs = sorted(zip(*map(np.ndarray.tolist, batch.row(row)), strict=True), key=lambda pair: (-pair[1], pair[0]))
        ids, weights = zip(*sorted(pairs[:k]), strict=True)
        kept = SparseBatch(
            np.array([0, len(ids)]), np.array(ids, np.int32), np.array(weights, np.float32), batch.vocab_size
        )
        matrix = reference.quantise(kept, QuantisationSettings(100, 255, normalise=True))
        rows.append(dict(zip(*map(np.ndarray.tolist, matrix.row(0)), strict=True)))
    return rows


def recall(scores: list[list[float]], relevant: list[set[int]]) -> dict[str, float]:
    figures = {}
    for cutoff in (1, 5, 10):
        found = 0
        for row, wanted in zip(scores, relevant, strict=True):
            ranked = sorted((column for column in range(len(row)) if row[column] > 0), key=lambda c: (-row[c], c))
            found += bool(wanted & set(ranked[:cutoff]))
        figures[f"r@{cutoff}"] = round(100 * found / len(scores), 2)
    return figures


def test_figures(lexlip: Callable[..., Any], captions_file: Path, bundle_folder: Path, encoder: LexLIPEncoder) -> None:
    rows = [json.loads(line) for line in captions_file.read_text(encoding="utf-8").split("\n")[:-1]]
    rows = [row for row in rows if row["split"] == "dev"]
    owners = [number for number, row in enumerate(rows) for _ in row["captions"]]
    images = encoder.encode_images([captions_file.parent / row["image"] for row in rows], batch_size=16, top_k=150)
    texts = encoder.encode_texts([caption for row in rows for caption in row["captions"]], top_k=150)
    full = encoder.similarity(texts, images)
    documents, queries = impacts_of(images, 20), impacts_of(texts, 9)
    scores = [[float(sum(q[t] * d[t] for t in q.keys() & d.keys())) for d in documents] for q in queries]
    owned = [{i for i, owner in enumerate(owners) if owner == image} for image in range(len(rows))]

    outcome = lexlip("eval", captions_file, "--model", bundle_folder, "--json", "--image-top-k", 20, "--text-top-k", 9)
    assert (outcome.status, outcome.stderr) == (0, "")
    found = json.loads(outcome.stdout)
    assert (found["images"], found["captions"], found["split"]) == (12, len(owners), "dev")
    assert found["top_k"] == {"image": 20, "text": 9}
    assert found["text_to_image_full"] == recall(full.tolist(), [{owner} for owner in owners])
    assert found["image_to_text_full"] == recall(full.T.tolist(), owned)
    assert found["text_to_image"] == recall(scores, [{owner} for owner in owners])
    assert found["image_to_text"] == recall([list(column) for column in zip(*scores, strict=True)], owned)


def test_for_people(lexlip: Callable[..., Any], captions_file: Path, bundle_folder: Path) -> None:
    outcome = lexlip("eval", captions_file, "--model", bundle_folder)
    assert (outcome.status, outcome.stderr) == (0, "")
    header, *rows, note = outcome.stdout.splitlines()
    assert header.split() == ["per", "cent", "[95", "%", "interval]", "R@1", "R@5", "R@10", "mean", "rank", "median"]
    assert [row.split("  ")[0] for row in rows] == [
        "text to image, full vectors",
        "text to image, impacts",
        "image to text, full vectors",
        "image to text, impacts",
    ]
    assert note == "impacts: integers x100, image top-24, text top-8, exact search"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", ':3: expected a line {"image": …, "captions": […], "split": …}'),
        ("[]", ":3: expected a line {"),
        ("3", ":3: expected a line {"),
        ('{"image": "0.png", "split": "dev"}', ":3: expected a line {"),
        (
            '{"image": "0.png", "captions": "one", "split": "dev"}',
            ':3: "captions" must be a list of at least one string',
        ),
        ('{"image": "0.png", "captions": [], "split": "dev"}', ':3: "captions" must be a list of at least one string'),
        ('{"image": "0.png", "captions": [7], "split": "dev"}', ':3: "captions" must be a list of at least one string'),
        ('{"image": 7, "captions": ["a"], "split": "dev"}', ':3: "image" and "split" must be strings'),
        ('{"image": "0.png", "captions": ["a"], "split": null}', ':3: "image" and "split" must be strings'),
        ('{"image": "0.png", "captions": ["a"], "split": "test"}', "no image of split 'dev'; there are 'test'"),
        ("", "no image of split 'dev'; it has no images"),
        ('{"image": "x.png", "captions": ["a"], "split": "dev"}', "x.png: cannot be read"),
    ],
)
def test_bad_files(line: str, said: str, lexlip: Callable[..., Any], bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.jsonl").write_text(f"\n \r\n{line}\n")
    outcome = lexlip("eval", tmp_path / "captions.jsonl", "--model", bundle_folder)
    assert (outcome.status, outcome.stdout) == (2, "")
    (message,) = outcome.stderr.splitlines()
    assert said in message


def test_missing_file(lexlip: Callable[..., Any], bundle_folder: Path, tmp_path: Path) -> None:
    outcome = lexlip("eval", tmp_path / "none.jsonl", "--model", bundle_folder)
    assert outcome.status == 2
    assert outcome.stderr == f"lexlip: {tmp_path / 'none.jsonl'}: cannot be read (No such file or directory)\n"


def test_blank_lines_and_a_byte_order_mark(captions_file: Path) -> None:
    expected = read_captioned_images(captions_file, "dev")
    rows = captions_file.read_bytes().split(b"\n")
    captions_file.write_bytes(b"\xef\xbb\xbf" + b"\r\n\n  \n".join(rows))
    assert read_captioned_images(captions_file, "dev") == expected


def test_the_scale_is_checked_before_anything_is_encoded(
    lexlip: Callable[..., Any], captions_file: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LexLIPEncoder, "encode_images", None)
    outcome = lexlip("eval", captions_file, "--model", bundle_folder, "--quant-scale", "nan")
    assert outcome.status == 2
    assert outcome.stderr.startswith("lexlip: quantisation scale is nan; expected a positive, finite")


def test_more_terms_than_there_are(lexlip: Callable[..., Any], captions_file: Path, bundle_folder: Path) -> None:
    outcome = lexlip("eval", captions_file, "--model", bundle_folder, "--json", "--image-top-k", 10**30)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert json.loads(outcome.stdout)["top_k"]["image"] == 150
