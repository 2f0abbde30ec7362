"""`lexlip-export` on an official file: bare, with a tokenizer, and with options that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lexlip_export import ImportOptions, export_bundle
from lexlip_export.official.checkpoint import load_official
from lexlip_infer import BundleError, InputError, LexLIPEncoder
from lexlip_training import LexLIP, save_checkpoint

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "dog", "##s", *"012345", "!"]
IDS = np.array([[2, 31, 32, 3], [2, 5, 3, 0]], np.int64)
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], np.int64)


@pytest.fixture(scope="module")
def official(content: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "last.ckpt"
    torch.save(content(phase=2), path)
    return path


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert len(WORDS) == 40
    path = tmp_path_factory.mktemp("words") / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


@pytest.fixture(scope="module")
def bare(official: Path, tmp_path_factory: pytest.TempPathFactory) -> LexLIPEncoder:
    output = tmp_path_factory.mktemp("bundles") / "bare"
    export_bundle(official, output)
    return LexLIPEncoder.from_pretrained(output, threads=1)


@torch.no_grad()
def test_a_bare_export_encodes_images_and_token_ids(bare: LexLIPEncoder, official: Path) -> None:
    manifest = bare.manifest
    assert (manifest.tokenizer, manifest.placeholder_id, manifest.similarity) == (None, None, "cosine")
    assert manifest.provenance["training"]["rel_pos_mode"] == "unchanged"
    assert "tokenizer.json" not in manifest.files
    model, _ = load_official(official)
    pixels = torch.randn(3, 3, 64, 64)
    encoded = bare.encode_pixels(pixels.numpy(), top_k=40).to_dense()
    np.testing.assert_allclose(encoded, model.image_weights(pixels).numpy(), atol=2e-5)
    encoded = bare.encode_token_ids(IDS, MASK, top_k=40).to_dense()
    np.testing.assert_allclose(encoded, model.text_weights(torch.tensor(IDS), torch.tensor(MASK)).numpy(), atol=2e-5)


def test_strings_need_a_tokenizer(bare: LexLIPEncoder) -> None:
    with pytest.raises(BundleError, match="export it again with --tokenizer, or use encode_token_ids"):
        bare.encode_texts(["a dog"])


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        (IDS[0], MASK[0]),
        (IDS, MASK[:1]),
        (IDS.astype(np.int32), MASK),
        (IDS + 37, MASK),
        (IDS - 1, MASK),
        (np.tile(IDS, 4), np.tile(MASK, 4)),
    ],
)
def test_token_ids_are_checked(bare: LexLIPEncoder, ids: Any, mask: Any) -> None:
    with pytest.raises(InputError, match="expected"):
        bare.encode_token_ids(ids, mask)


def test_with_a_vocabulary_it_encodes_strings(
    official: Path, vocabulary: Path, bare: LexLIPEncoder, tmp_path: Path
) -> None:
    export_bundle(official, tmp_path / "out", options=ImportOptions(tokenizer=vocabulary))
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "out", threads=1)
    assert encoder.manifest.placeholder_id == 1
    ids, mask = encoder.tokenize(["DOGS", "à"])
    assert ids.tolist() == [[2, 31, 32, 3], [2, 5, 3, 0]]
    from_strings, from_ids = encoder.encode_texts(["Dogs", "A"]), bare.encode_token_ids(ids, mask)
    np.testing.assert_allclose(from_strings.to_dense(), from_ids.to_dense(), atol=1e-6)


def test_a_tokenizer_of_another_model_is_refused(official: Path, vocabulary: Path, tmp_path: Path) -> None:
    other = tmp_path / "vocab.txt"
    other.write_text(vocabulary.read_text() + "more\n")
    for tokenizer, message in [
        (other, "the tokenizer has 41 terms, the model 40"),
        (tmp_path / "none.json", "expected a tokenizer.json, a vocab.txt"),
        (official, "not a tokenizer"),
        (official.parent, "holds no tokenizer"),
    ]:
        with pytest.raises(BundleError, match=message):
            export_bundle(official, tmp_path / "out", options=ImportOptions(tokenizer=tokenizer))
    other.write_text("a\nb\n")
    with pytest.raises(BundleError, match=r"the vocabulary lacks \[PAD\], \[UNK\]"):
        export_bundle(official, tmp_path / "out", options=ImportOptions(tokenizer=other))
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.txt"]


def test_options_of_official_files_are_refused_elsewhere(random_model: LexLIP, tokenizer: Any, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "ours", random_model, tokenizer, {})
    for options in (ImportOptions(image_size=96), ImportOptions(text_heads=2), ImportOptions(tokenizer=tmp_path)):
        with pytest.raises(InputError, match="leave it out"):
            export_bundle(tmp_path / "ours", tmp_path / "out", options=options)


@pytest.mark.parametrize("name", ["nothing", "empty", "foreign", "foreign/config.json", "nothing.ckpt"])
def test_anything_else_is_refused_with_the_list_of_three(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.json").write_text("[1]")
    (tmp_path / "nothing.ckpt").touch()
    message = "official LexLIP checkpoint file, a folder that lexlip-train wrote .* or a Hugging Face folder"
    with pytest.raises(BundleError, match=message):
        export_bundle(tmp_path / name, tmp_path / "out")
