"""A model with prompts: what is put before a text, by the encoder, by a run and by a search."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lexlip_infer import BundleError, InputError, LexLIPEncoder, OutputError, encode_texts_file
from lexlip_infer.bundle import Bundle, TextSettings

TEXTS = ["A dog runs", "Two children play football on a sunny beach ."]
PROMPTS = {"query": "coffee ", "document": "A horse : ", "title": "snowy "}


@pytest.fixture(scope="module")
def folder(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random model, text tower alone, with three prompts."""
    folder = shutil.copytree(bundle_folder, tmp_path_factory.mktemp("prompts") / "bundle")
    manifest = json.loads((folder / "lexlip.json").read_text())
    text = manifest["text"] | {"prompts": PROMPTS, "default_prompt": "title", "truncation_side": "left"}
    changed = manifest | {"format_version": 3, "image": None, "text": text}
    (folder / "lexlip.json").write_text(json.dumps(changed))
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained(folder, threads=1)


def test_each_way_of_encoding_has_its_prompt(encoder: LexLIPEncoder) -> None:
    tokens = {name: encoder.tokenize(TEXTS, prompt) for name, prompt in PROMPTS.items()}
    vectors = {name: encoder.encode_token_ids(*ids).to_dense() for name, ids in tokens.items()}
    assert np.array_equal(encoder.encode_query(TEXTS).to_dense(), vectors["query"])
    assert np.array_equal(encoder.encode_document(TEXTS).to_dense(), vectors["document"])
    assert np.array_equal(encoder.encode_texts(TEXTS).to_dense(), vectors["title"])
    assert np.array_equal(encoder.encode_texts(TEXTS, prompt_name="query").to_dense(), vectors["query"])
    assert not np.array_equal(vectors["query"], vectors["title"])
    with pytest.raises(InputError, match="no prompt 'passage'; expected one of 'query', 'document', 'title'"):
        encoder.encode_texts(TEXTS, prompt_name="passage")


def test_a_long_text_is_cut_on_the_side_of_the_manifest(encoder: LexLIPEncoder) -> None:
    long = "dog " * 30 + "cat"
    ids, _ = encoder.tokenize([long])
    last = encoder.tokenize(["cat"])[0][0, -2]
    assert ids.shape == (1, 16)
    assert ids[0, -2] == last


def test_a_run_encodes_documents_unless_told_otherwise(encoder: LexLIPEncoder, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    documents = encode_texts_file(tmp_path / "texts.txt", tmp_path / "documents", model=folder)
    queries = encode_texts_file(tmp_path / "texts.txt", tmp_path / "queries", model=folder, prompt="query")
    prompts = [run.manifest and run.manifest.settings.prompt for run in (documents, queries)]
    assert prompts == ["A horse : ", "coffee "]
    lines = [(tmp_path / name / "vectors" / "part-00000.jsonl").read_text() for name in ("documents", "queries")]
    assert lines[0] != lines[1]
    terms = set(json.loads(lines[1].splitlines()[0])["vector"])
    assert terms == set(encoder.encode_query(TEXTS[:1]).to_dicts(encoder.vocabulary.terms)[0])
    with pytest.raises(OutputError, match="prompt was coffee , now A horse : "):
        encode_texts_file(tmp_path / "texts.txt", tmp_path / "queries", model=folder)
    with pytest.raises(InputError, match="no prompt 'passage'"):
        encode_texts_file(tmp_path / "texts.txt", tmp_path / "other", model=folder, prompt="passage")


def test_models_without_prompts_are_as_before(bundle_folder: Path, tmp_path: Path) -> None:
    text = Bundle.open(bundle_folder).manifest.text
    assert text is not None
    assert text.model_dump() == {"max_length": 16}
    assert text.prompt() == text.prompt("query") == text.prompt("document") == ""
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    encode_texts_file(tmp_path / "texts.txt", tmp_path / "out", model=bundle_folder)
    assert "prompt" not in json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]


def test_a_default_that_is_no_prompt_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="default_prompt 'other' is none of the prompts"):
        TextSettings(max_length=8, default_prompt="other")
    copy = shutil.copytree(folder, tmp_path / "bundle")
    manifest = (copy / "lexlip.json").read_text()
    (copy / "lexlip.json").write_text(manifest.replace('"default_prompt": "title"', '"default_prompt": "other"'))
    with pytest.raises(BundleError, match="default_prompt 'other'"):
        Bundle.open(copy)
