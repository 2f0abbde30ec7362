"""`--query-mode` of every command that encodes texts: the same vectors as the encoder's, and refusals in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lexlip_infer import LexLIPEncoder
from lexlip_infer.datasets import read_captioned_images
from lexlip_infer.evaluation.ranks import Recall, similarity_ranks

Lexlip = Callable[..., Any]
LOOKUP = ("--query-mode", "lookup")


@pytest.fixture(scope="module")
def looking(lookup_folder: Path) -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained(lookup_folder, threads=1)


@pytest.fixture
def output(lexlip: Lexlip, lookup_folder: Path, photographs: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    options = ("--model", lookup_folder, "--top-k", 150)
    assert lexlip("encode", "--images", photographs, "--output", folder, *options).status == 0
    return folder


def test_search(lexlip: Lexlip, output: Path, looking: LexLIPEncoder, tmp_path: Path) -> None:
    outcome = lexlip("search", output, "a black dog", "--json", *LOOKUP)
    assert (outcome.status, outcome.stderr) == (0, "")
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert rows
    (terms,) = looking.encode_query("a black dog", mode="lookup").to_dicts(looking.vocabulary.terms)
    assert {term for row in rows for term, _ in row["terms"]} <= terms.keys()
    assert lexlip("search", output, "a black dog", "--json").stdout != outcome.stdout
    (tmp_path / "queries.txt").write_text("a black dog\n")
    encoded = lexlip("encode", "--texts", tmp_path / "queries.txt", "--output", tmp_path / "q", "--model",
                     looking.bundle.folder, *LOOKUP)  # fmt: skip
    assert encoded.status == 0, encoded.stderr
    runs = [
        lexlip("search", output, *queries).stdout
        for queries in (("--queries", tmp_path / "queries.txt", *LOOKUP), ("--query-vectors", tmp_path / "q"))
    ]
    assert runs[0] == runs[1]
    assert [line.split()[2] for line in runs[0].splitlines()] == [row["id"] for row in rows]


def test_search_for_no_known_word(lexlip: Lexlip, output: Path) -> None:
    outcome = lexlip("search", output, "日本", *LOOKUP)
    assert (outcome.status, outcome.stdout) == (0, "")
    assert outcome.stderr == "nothing found: the query holds no word the model knows\n"


def test_retrieval(lexlip: Lexlip, captions_file: Path, looking: LexLIPEncoder, tmp_path: Path) -> None:
    model = looking.bundle.folder
    outcome = lexlip("eval", captions_file, "--model", model, "--json", *LOOKUP, "--save", tmp_path / "s.json")
    assert (outcome.status, outcome.stderr) == (0, "")
    found = json.loads(outcome.stdout)
    data = read_captioned_images(captions_file, "dev")
    texts = looking.encode_texts(data.captions, top_k=150, mode="lookup")
    images = looking.encode_images(data.images, batch_size=16, top_k=150)
    recall = Recall.of(similarity_ranks(looking, texts, images, np.array(data.owner), np.arange(len(images))))
    assert found["text_to_image_full"] == {f"r@{k}": round(getattr(recall, f"at_{k}"), 2) for k in (1, 5, 10)}
    assert found["query_mode"] == "lookup"
    assert found["terms_per_text_full"] == round(texts.nnz / len(texts), 1)
    assert "texts by lookup" in json.loads((tmp_path / "s.json").read_text())["system"]
    table = lexlip("eval", captions_file, "--model", model, *LOOKUP).stdout
    assert table.splitlines()[-1] == "impacts: integers x100, image top-24, text top-8, texts by lookup, exact search"
    assert json.loads(lexlip("eval", captions_file, "--model", model, "--json").stdout)["query_mode"] == "tower"


def test_zero_shot(lexlip: Lexlip, lookup_folder: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    for name in ("dog", "horse"):
        (tmp_path / "classes" / name).mkdir(parents=True)
        pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "classes" / name / "a.png")
    outcome = lexlip("eval", "zero-shot", tmp_path / "classes", "--model", lookup_folder, "--json", *LOOKUP)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert json.loads(outcome.stdout)["query_mode"] == "lookup"


def test_large_scale_and_calibrate(lexlip: Lexlip, captions_file: Path, looking: LexLIPEncoder, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'lexlip-infer[viz]'")
    model, texts = looking.bundle.folder, read_captioned_images(captions_file, "dev").captions
    options = ("--system", "exact", "--rounds", 1, "--seconds", 0.01, "--threads", 1, "--image-top-k", 20)
    outcome = lexlip("eval", "large-scale", captions_file, tmp_path / "o", "--model", model, *options, *LOOKUP)
    assert outcome.status == 0, outcome.stderr
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["settings"]["query_mode"] == "lookup"
    assert results["terms_per_query"] < looking.manifest.top_k.text
    options = ("--image-top-k", 20, "--bits", 8)
    found = [
        json.loads(lexlip("calibrate", captions_file, "--model", model, "--json", *options, *mode).stdout)
        for mode in (LOOKUP, ())
    ]
    vectors = [looking.encode_texts(texts, top_k=150, mode=mode) for mode in ("lookup", "tower")]
    assert vectors[0].nnz < vectors[1].nnz
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("search", "{output}", "--image", "{picture}", *LOOKUP),
            "lexlip: --query-mode lookup is for words and --quer",
        ),
        (
            ("search", "{output}", "--query-vectors", "x", *LOOKUP),
            "lexlip: --query-mode lookup is for words and --quer",
        ),
        (("search", "{output}", "dog", "--query-mode", "x"), "lexlip: query mode is 'x'; expected 'tower' or 'lookup'"),
        (
            ("encode", "--images", "{picture}", "--output", "{new}", *LOOKUP),
            "lexlip-encode: --query-mode goes with --t",
        ),
        (("eval", "{captions}", "--model", "{old}", *LOOKUP), "random has no weights for texts without its tower"),
        (
            ("eval", "large-scale", "{captions}", "{new}", "--model", "{old}", "--system", "exact", *LOOKUP),
            "random has no weights for texts",
        ),
        (("calibrate", "{captions}", "--model", "{old}", *LOOKUP), "random has no weights for texts without its tower"),
    ],
)
def test_refused(
    command: tuple[str, ...],
    said: str,
    lexlip: Lexlip,
    output: Path,
    captions_file: Path,
    bundle_folder: Path,
    photographs: Path,
    tmp_path: Path,
) -> None:
    places = {"output": output, "picture": photographs / "a.jpg", "captions": captions_file, "old": bundle_folder}
    outcome = lexlip(*(word.format(new=tmp_path / "new", **places) for word in command))
    assert (outcome.status, outcome.stdout) == (2, "")
    assert said in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()
