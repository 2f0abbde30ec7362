"""D2S on BLIP and ALBEF: pixels, hidden states, weights, kept terms and scores of an independent reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from public_models import D2S, LINES, Dense, clip_pixels, token_ids, write_vocabulary

from lexlip_export import ImportOptions, export_bundle
from lexlip_infer import LexLIPEncoder

TEXTS = [
    "A dog runs on green grass.",
    'Two "boats" (red) #big ~ near water!',
    "man: woman; child * plays with blue ball",
]
TEXTS += ["", "the red boat, " * 30]


class Case(NamedTuple):
    """References of towers and head, and the bundle made of their files."""

    dense: Dense
    head: D2S
    encoder: LexLIPEncoder

    def image(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """(V,)."""
        return self.head.weights(self.dense.image(image))

    def text(self, text: str) -> npt.NDArray[np.float32]:
        """(V,)."""
        return self.head.weights(self.dense.text(cleaned_ids(text)))


@pytest.fixture(scope="module", params=["hugging face", "lavis", "albef"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("d2s")
    hugging_face = request.param == "hugging face"
    dense = Dense(len(LINES), albef=request.param == "albef", eps=1e-5 if hugging_face else 1e-6)
    head = D2S(len(LINES))
    towers = dense.write_folder(folder / "towers") if hugging_face else dense.write_checkpoint(folder / "towers.pth")
    options = ImportOptions(tokenizer=write_vocabulary(folder / "vocab.txt"), dense=towers)
    export_bundle(head.write(folder / "d2s_random"), folder / "bundle", options=options)
    return Case(dense, head, LexLIPEncoder.from_pretrained(folder / "bundle", threads=1))


def cleaned_ids(text: str) -> list[int]:
    """Token ids of what BLIP's clean-up leaves of a caption."""
    cleaned = re.sub(r"\s{2,}", " ", re.sub(r"([.!\"()*#:;~])", " ", text.lower())).rstrip("\n").strip(" ")
    return token_ids(" ".join(cleaned.split(" ")[:50]), Dense.length)


def test_images(case: Case, photographs: list[Image.Image], hidden_of: Callable[..., npt.NDArray[np.float32]]) -> None:
    pixels = np.stack([case.encoder.preprocess(image) for image in photographs])
    expected = np.concatenate([clip_pixels(image, case.dense.size, squash=True) for image in photographs])
    np.testing.assert_allclose(pixels, expected, atol=1e-6)
    states = hidden_of(case.encoder, "image", pixel_values=pixels)
    expected = np.stack([case.head.hidden(case.dense.image(image)) for image in photographs])
    np.testing.assert_allclose(states[:, 0], expected, rtol=1e-4, atol=1e-5)
    expected = np.stack([case.image(image) for image in photographs])
    assert (expected > 0).sum(axis=1).min() > 50
    found = case.encoder.encode_images(photographs, top_k=len(LINES)).to_dense()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["native", "onnx"])
def test_texts(case: Case, hidden_of: Callable[..., npt.NDArray[np.float32]], head: str) -> None:
    ids, mask = case.encoder.tokenize(TEXTS)
    assert [row[: sum(real)].tolist() for row, real in zip(ids, mask, strict=True)] == list(map(cleaned_ids, TEXTS))
    states = hidden_of(case.encoder, "text", input_ids=ids, attention_mask=mask)
    expected = np.stack([case.head.hidden(case.dense.text(cleaned_ids(text))) for text in TEXTS])
    np.testing.assert_allclose(states[:, 0], expected, rtol=1e-4, atol=1e-5)
    encoder = LexLIPEncoder.from_pretrained(case.encoder.bundle.folder, threads=1, head=head)
    found = encoder.encode_texts(TEXTS, top_k=len(LINES)).to_dense()
    np.testing.assert_allclose(found, np.stack([case.text(text) for text in TEXTS]), rtol=1e-4, atol=1e-5)


def test_kept_terms_and_scores(case: Case, photographs: list[Image.Image]) -> None:
    def kept(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.where(weights >= np.sort(weights)[-256], weights, 0)

    images, texts = case.encoder.encode_images(photographs), case.encoder.encode_query(TEXTS)
    expected_images = np.stack([kept(case.image(image)) for image in photographs])
    expected_texts = np.stack([kept(case.text(text)) for text in TEXTS])
    assert ((images.to_dense() > 0) == (expected_images > 0)).all()
    assert ((texts.to_dense() > 0) == (expected_texts > 0)).all()
    found = case.encoder.similarity(texts, images)
    np.testing.assert_allclose(found, expected_texts @ expected_images.T, rtol=1e-4)


def test_manifest_and_card(case: Case) -> None:
    manifest = case.encoder.manifest
    assert manifest.image is not None
    assert manifest.text is not None
    assert (manifest.format_version, manifest.similarity, manifest.vocab_size) == (2, "dot", len(LINES))
    assert (manifest.image.resize, manifest.image.size, manifest.text.max_length) == ("squash", 64, 35)
    card = case.encoder.bundle.read("README.md").decode()
    assert card.count("No licence of the weights is stated") == 2, "of the head, of the towers"


def test_positions_of_another_image_size(tmp_path: Path, photographs: list[Image.Image]) -> None:
    """As LAVIS enlarges them; the reference is torch's bicubic resize of the grid."""
    import torch

    dense, head = Dense(len(LINES)), D2S(len(LINES))
    towers = dense.write_checkpoint(tmp_path / "towers.pth")
    options = ImportOptions(tokenizer=write_vocabulary(tmp_path / "vocab.txt"), dense=towers, image_size=96)
    export_bundle(head.write(tmp_path / "d2s"), tmp_path / "bundle", options=options)
    table = dense.blip.vision_model.embeddings.position_embedding
    grid = table.data[0, 1:].T.reshape(1, -1, 4, 4)
    larger = torch.nn.functional.interpolate(grid, (6, 6), mode="bicubic", align_corners=False)[0].flatten(1).T
    table.data = torch.cat([table.data[:, :1], larger[None]], dim=1)
    dense.size = 96
    dense.blip.vision_model.embeddings.image_size = 96
    found = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1).encode_images(photographs, top_k=len(LINES))
    expected = np.stack([head.weights(dense.image(image)) for image in photographs])
    np.testing.assert_allclose(found.to_dense(), expected, rtol=1e-4, atol=1e-5)
