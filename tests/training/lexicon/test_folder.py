"""A lexicon on disk: what is saved is loaded, and what is damaged is told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_lexicon import small_lexicon

from lexlip_kernels.errors import BundleError
from lexlip_training.lexicon.folder import Lexicon


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_lexicon().save(tmp_path)
    return tmp_path


def test_what_is_saved_is_loaded(folder: Path) -> None:
    made, loaded = small_lexicon(), Lexicon.load(folder)
    assert loaded.tokenizer.to_str() == made.tokenizer.to_str()
    np.testing.assert_array_equal(loaded.embeddings, made.embeddings)
    np.testing.assert_array_equal(loaded.class_words.toarray(), made.class_words.toarray())
    np.testing.assert_array_equal(loaded.meaning_words.toarray(), made.meaning_words.toarray())
    assert (loaded.class_names, loaded.meanings, loaded.record) == (made.class_names, made.meanings, made.record)


@pytest.mark.parametrize("name", ["tokenizer.json", "words.safetensors", "classes.npz", "meanings.npz", "lexicon.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "foreign"])
def test_damaged_files(folder: Path, name: str, damage: str) -> None:
    file = folder / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:40] if damage == "cut" else b"[]")
    with pytest.raises(BundleError) as caught:
        Lexicon.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parts_that_do_not_belong_together(folder: Path) -> None:
    texts = json.loads((folder / "lexicon.json").read_text())
    shorter: list[dict[str, object]] = [{name: texts[name][1:]} for name in ("class_names", "captions")]
    for changed in (*shorter, {"meanings": []}, {"class_names": [[]] * 5}):
        (folder / "lexicon.json").write_text(json.dumps(texts | changed))
        with pytest.raises(BundleError, match=r"not a lexicon .*`lexlip-train lexicon` makes one"):
            Lexicon.load(folder)
    (folder / "lexicon.json").write_text(json.dumps(texts))
    captions = np.zeros((len(texts["captions"]), 4), np.float16)
    save_file({"embeddings": np.zeros((3, 4), np.float32), "captions": captions}, folder / "words.safetensors")
    with pytest.raises(BundleError, match=r"words has the shape \(3,\), expected"):
        Lexicon.load(folder)
