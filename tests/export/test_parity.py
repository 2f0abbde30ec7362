"""The parity ladder, torch against ONNX Runtime, rung by rung: a failure names the stage that broke."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.bundle import Bundle
from lexlip_infer.inputs.images import load_image
from lexlip_training import LexLIP

#: Absolute difference per stage; both sides compute in float32 and sum in different orders.
TOLERANCE = {"pixels": 1e-6, "hidden": 2e-4, "weights": 1e-4}


@pytest.fixture(scope="module")
def encoder(bundle_folder: Path) -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained(bundle_folder, threads=1)


@pytest.fixture(scope="module")
def pixels(encoder: LexLIPEncoder, photographs: Path) -> npt.NDArray[np.float32]:
    paths = sorted(path for path in photographs.rglob("*") if path.is_file())
    return np.stack([encoder.preprocess(load_image(path)) for path in paths])


@pytest.fixture(scope="module")
def tokens(encoder: LexLIPEncoder, captions: list[str]) -> dict[str, npt.NDArray[np.int64]]:
    ids, mask = encoder.tokenize(captions)
    return {"input_ids": ids, "attention_mask": mask}


def test_1_pixels(encoder: LexLIPEncoder, photographs: Path, random_model: LexLIP) -> None:
    from timm.data import create_transform

    config = random_model.config.image
    transform = create_transform(
        (3, config.image_size, config.image_size),
        interpolation="bicubic",
        mean=config.mean,
        std=config.std,
        crop_pct=1.0,
        crop_mode="squash",
    )
    image = Image.open(photographs / "b.png")
    difference = encoder.preprocess(load_image(photographs / "b.png")) - transform(image).numpy()
    assert np.abs(difference).max() <= TOLERANCE["pixels"]


def test_2_token_ids(tokens: dict[str, npt.NDArray[np.int64]], tokenizer: Tokenizer, captions: list[str]) -> None:
    tokenizer.enable_truncation(16)
    for row, caption in enumerate(captions):
        expected = tokenizer.encode(caption).ids
        assert tokens["input_ids"][row, : len(expected)].tolist() == expected
        assert tokens["attention_mask"][row].sum() == len(expected)


def test_3_hidden_states(
    encoder: LexLIPEncoder,
    random_model: LexLIP,
    pixels: npt.NDArray[np.float32],
    tokens: dict[str, npt.NDArray[np.int64]],
) -> None:
    with torch.no_grad():
        image = random_model.image_hidden(torch.from_numpy(pixels)).numpy()
        text = random_model.text_hidden(*map(torch.from_numpy, tokens.values())).numpy()
    (image_onnx,) = encoder._image_tower.backbone({"pixel_values": pixels})
    (text_onnx,) = encoder._text_tower.backbone(tokens)
    assert np.abs(image - image_onnx).max() <= TOLERANCE["hidden"]
    real = tokens["attention_mask"] == 1
    assert np.abs(text - text_onnx)[real].max() <= TOLERANCE["hidden"]


def reference_weights(
    model: LexLIP, pixels: npt.NDArray[np.float32], tokens: dict[str, npt.NDArray[np.int64]]
) -> dict[str, npt.NDArray[np.float32]]:
    with torch.no_grad():
        return {
            "image": model.image_weights(torch.from_numpy(pixels)).numpy(),
            "text": model.text_weights(*map(torch.from_numpy, tokens.values())).numpy(),
        }


def test_4_weights(
    encoder: LexLIPEncoder,
    random_model: LexLIP,
    pixels: npt.NDArray[np.float32],
    tokens: dict[str, npt.NDArray[np.int64]],
    captions: list[str],
) -> None:
    size = random_model.config.vocab_size
    expected = reference_weights(random_model, pixels, tokens)
    image = encoder.encode_pixels(pixels, top_k=size)
    text = encoder.encode_texts(captions, top_k=size)
    for name, batch in {"image": image, "text": text}.items():
        batch.validate()
        assert np.abs(batch.to_dense() - expected[name]).max() <= TOLERANCE["weights"], name
        assert (batch.to_dense()[:, list(random_model.config.suppressed_ids)] == 0).all(), name


@pytest.mark.parametrize("top_k", [1, 7, 24])
def test_5_top_k_sets(
    encoder: LexLIPEncoder,
    random_model: LexLIP,
    pixels: npt.NDArray[np.float32],
    tokens: dict[str, npt.NDArray[np.int64]],
    captions: list[str],
    top_k: int,
) -> None:
    expected = reference_weights(random_model, pixels, tokens)
    batches = {
        "image": encoder.encode_pixels(pixels, top_k=top_k),
        "text": encoder.encode_texts(captions, top_k=top_k),
    }
    for name, batch in batches.items():
        for row in range(len(batch)):
            assert_top_k(batch, row, expected[name][row], top_k)


def assert_top_k(batch: SparseBatch, row: int, weights: npt.NDArray[np.float32], top_k: int) -> None:
    """The kept set is a top-k set of the reference, up to terms within rounding of the last kept one."""
    ids, _ = batch.row(row)
    threshold = np.sort(weights)[-top_k]
    clearly_above = set(np.flatnonzero(weights > threshold + TOLERANCE["weights"]))
    possible = set(np.flatnonzero((weights >= threshold - TOLERANCE["weights"]) & (weights > 0)))
    assert clearly_above <= set(ids) <= possible
    assert len(ids) == min(top_k, int((weights > 0).sum()))


def test_batch_size_does_not_matter(encoder: LexLIPEncoder, pixels: npt.NDArray[np.float32]) -> None:
    together = encoder.encode_pixels(pixels).to_dense()
    alone = np.concatenate([encoder.encode_pixels(pixels[i : i + 1]).to_dense() for i in range(len(pixels))])
    assert np.abs(together - alone).max() <= TOLERANCE["weights"]


def test_padding_does_not_matter(encoder: LexLIPEncoder) -> None:
    short, long = "A dog .", "A woman rides a brown horse near the water and two children play ."
    together = encoder.encode_texts([short, long]).to_dense()[0]
    assert np.abs(together - encoder.encode_texts([short]).to_dense()[0]).max() <= TOLERANCE["weights"]


def test_heads_file_holds_what_the_graphs_hold(bundle_folder: Path, random_model: LexLIP) -> None:
    from safetensors.numpy import load

    heads = load(Bundle.open(bundle_folder).read("heads.safetensors"))
    assert sorted(heads) == ["image.bias", "image.weight", "text.bias", "text.weight"]
    np.testing.assert_array_equal(heads["image.weight"], random_model.image_head.weight.detach().numpy())
    assert (heads["text.bias"][list(random_model.config.suppressed_ids)] == -1e4).all()
