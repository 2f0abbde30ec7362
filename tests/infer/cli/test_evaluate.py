"""`lexlip eval` against a recall computed with dictionaries and sorted lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.impacts import QuantisationSettings, reference

TEXTS = ["a black dog", "two children on a beach", "a red jacket", "snowy mountain", "coffee at a table", "a white cat"]


@pytest.fixture
def captions_file(tmp_path: Path) -> Path:
    """Twelve noisy images with one to three captions each, and one row of another split."""
    generator = np.random.default_rng(3)
    rows = []
    for number in range(12):
        Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        own = [f"{TEXTS[(number + i) % 6]} {TEXTS[number * 5 % 6]}" for i in range(1 + number % 3)]
        rows.append({"image": f"{number}.png", "captions": own, "split": "dev"})
    rows[0]["captions"] = ["a line\u2028separator stays inside"]
    rows.insert(4, {"image": "none.png", "captions": ["unused"], "split": "train"})
    file = tmp_path / "captions.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


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


def test_figures(
    lexlip: Callable[..., Any], captions_file: Path, bundle_folder: Path, encoder: LexLIPEncoder
) -> None:
    rows = [json.loads(line) for line in captions_file.read_text(encoding="utf-8").split("\n")[:-1]]
    rows = [row for row in rows if row["split"] == "dev"]
    owners = [number for number, row in enumerate(rows) for _ in row["captions"]]
    images = encoder.encode_images([captions_file.parent / row["image"] for row in rows], batch_size=16, top_k=150)
    texts = encoder.encode_texts([caption for row in rows for caption in row["captions"]], top_k=150)
    full = encoder.similarity(texts, images)
    documents, queries = impacts_of(images, 20), impacts_of(texts, 9)
    scores = [[float(sum(q[t] * d[t] for t in q.keys() & d.keys())) for d in documents] for q in queries]
    owned = [{i for i, owner in enumerate(owners) if owner == image} for image in range(len(rows))]

    outcome = lexlip(
        "eval", captions_file, "--model", bundle_folder, "--json", "--image-top-k", 20, "--text-top-k", 9
    )
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
    header, *rows = outcome.stdout.splitlines()
    assert header.split("  ")[0] == "recall at 1/5/10, per cent"
    assert [len(row.split("/")) for row in rows] == [5, 5]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "expected lines {image, captions, split}"),
        ("[]", "expected lines {image, captions, split}"),
        ('{"image": "0.png", "split": "dev"}', "expected lines {image, captions, split} (KeyError('captions'))"),
        ('{"image": "0.png", "captions": "one", "split": "dev"}', "a list of at least one text is needed"),
        ('{"image": "0.png", "captions": [], "split": "dev"}', "a list of at least one text is needed"),
        ('{"image": "0.png", "captions": ["a"], "split": "test"}', "no row of split 'dev'; there are ['test']"),
        ('{"image": "x.png", "captions": ["a"], "split": "dev"}', "x.png: cannot be read"),
    ],
)
def test_bad_files(line: str, said: str, lexlip: Callable[..., Any], bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.jsonl").write_text(line + "\n")
    outcome = lexlip("eval", tmp_path / "captions.jsonl", "--model", bundle_folder)
    assert (outcome.status, outcome.stdout) == (2, "")
    (message,) = outcome.stderr.splitlines()
    assert said in message


def test_missing_file(lexlip: Callable[..., Any], bundle_folder: Path, tmp_path: Path) -> None:
    outcome = lexlip("eval", tmp_path / "none.jsonl", "--model", bundle_folder)
    assert outcome.status == 2
    assert "none.jsonl: expected lines" in outcome.stderr
