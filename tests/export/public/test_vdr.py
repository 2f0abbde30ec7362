"""VDR cross-modal: pixels, hidden states, weights, kept terms and scores of an independent reference, every head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from public_models import LINES, VDR, clip_pixels, token_ids, write_vocabulary

from lexlip_export import ExportSettings, ImportOptions, export_bundle
from lexlip_infer import LexLIPEncoder
from lexlip_infer.bundle import Bundle
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.heads import TritonHead
from lexlip_infer.runtime.opening import open_tower

TEXTS = [
    "A dog runs on green grass.",
    "café",
    "",
    "two boats on the blue water, near the beach: a small boat and a big",
]


class Case(NamedTuple):
    """The reference, and the bundle made of its folder."""

    reference: VDR
    encoder: LexLIPEncoder


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("vdr")
    reference = VDR(LINES)
    options = ImportOptions(tokenizer=write_vocabulary(folder / "vocab.txt"))
    export_bundle(reference.write(folder / "vdr"), folder / "bundle", options=options)
    return Case(reference, LexLIPEncoder.from_pretrained(folder / "bundle", threads=1))


def test_hidden_states_of_images(
    case: Case, photographs: list[Image.Image], hidden_of: Callable[..., npt.NDArray[np.float32]]
) -> None:
    reference, encoder = case
    pixels = np.stack([encoder.preprocess(image) for image in photographs])
    expected = np.concatenate([clip_pixels(image, reference.size, squash=False) for image in photographs])
    np.testing.assert_allclose(pixels, expected, atol=1e-6)
    states = np.stack([reference.image_hidden(image) for image in photographs])
    assert states.shape[1] == 4, "patches, no class token"
    np.testing.assert_allclose(hidden_of(encoder, "image", pixel_values=pixels), states, rtol=1e-4, atol=1e-5)


def test_hidden_states_of_texts_and_of_their_padding(
    case: Case, hidden_of: Callable[..., npt.NDArray[np.float32]]
) -> None:
    reference, encoder = case
    ids, mask = encoder.tokenize(TEXTS)
    assert [row[: sum(real)].tolist() for row, real in zip(ids, mask, strict=True)] == [
        token_ids(text, reference.max_length) for text in TEXTS
    ]
    more = ((0, 0), (0, reference.max_length - ids.shape[1]))
    states = hidden_of(encoder, "text", input_ids=np.pad(ids, more), attention_mask=np.pad(mask, more))
    expected = np.stack([reference.text_hidden(token_ids(text, reference.max_length)) for text in TEXTS])
    np.testing.assert_allclose(states, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["native", "onnx"])
@pytest.mark.parametrize("top_k", [1, 20, 10_000])
def test_kept_weights(case: Case, photographs: list[Image.Image], head: str, top_k: int) -> None:
    reference, encoder = case
    encoder = LexLIPEncoder.from_pretrained(encoder.bundle.folder, threads=1, head=head)
    images = encoder.encode_images(photographs, top_k=top_k).to_dense()
    expected = np.stack([reference.image_vector(image, top_k) for image in photographs])
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-9)
    assert ((images > 0) == (expected > 0)).all()
    texts = encoder.encode_texts(TEXTS, top_k=top_k).to_dense()
    expected = np.stack([reference.text_vector(token_ids(text, reference.max_length), top_k) for text in TEXTS])
    np.testing.assert_allclose(texts, expected, rtol=1e-4, atol=1e-9)
    assert ((texts > 0) == (expected > 0)).all()


def test_triton_keeps_the_same(case: Case) -> None:
    from lexlip_kernels.backends import triton_refusal

    if (refusal := triton_refusal("cpu")) is not None:
        pytest.skip(refusal)
    encoder = case.encoder
    ids, mask = encoder.tokenize(TEXTS)
    inputs = {"input_ids": ids, "attention_mask": mask}
    tower = open_tower(encoder.bundle, "text", RuntimeOptions("cpu", threads=1))
    triton = tower.with_parts(tower.backbone, TritonHead(encoder.bundle, "text", half=False, device="cpu"))
    np.testing.assert_allclose(triton(inputs, 20).to_dense(), tower(inputs, 20).to_dense(), rtol=1e-4, atol=1e-7)


def test_scores(case: Case, photographs: list[Image.Image]) -> None:
    reference, encoder = case
    found = encoder.similarity(encoder.encode_query(TEXTS), encoder.encode_images(photographs))
    images = np.stack([reference.image_vector(image) for image in photographs])
    texts = np.stack([reference.text_vector(token_ids(text, reference.max_length)) for text in TEXTS])
    np.testing.assert_allclose(found, texts @ images.T, rtol=1e-4)


def test_manifest(case: Case) -> None:
    reference, encoder = case
    manifest = encoder.manifest
    assert manifest.image is not None
    assert manifest.text is not None
    assert (manifest.format_version, manifest.vocab_size, manifest.token_count) == (5, len(reference.terms), len(LINES))
    assert encoder.vocabulary.terms == tuple(LINES[term] for term in reference.terms)
    assert "café" not in encoder.vocabulary.ids
    assert "[CLS]" not in encoder.vocabulary.ids
    assert (manifest.image.resize, manifest.similarity) == ("center_crop", "dot")
    assert (manifest.top_k.image, manifest.top_k.text) == (20, 20)
    assert "No licence of the weights is stated" in encoder.bundle.read("README.md").decode()


def test_the_scale_brings_the_heaviest_weight_to_the_cap(case: Case, tmp_path: Path) -> None:
    reference, encoder = case
    words = [line for line in LINES[999:] if line.isalpha() and line.isascii() and len(line) > 2]
    heaviest = max(reference.text_vector(token_ids(word, reference.max_length)).max() for word in words)
    quantisation = encoder.manifest.quantisation
    assert 0.95 < quantisation.scale * heaviest / quantisation.cap < 1.001, "of single words, or images just above"
    training = encoder.manifest.provenance["training"]
    assert training["scale"] == {"fits": "single words and random images", "lifted": 0.0}
    options = ImportOptions(tokenizer=write_vocabulary(tmp_path / "vocab.txt"))
    folder = reference.write(tmp_path / "vdr", pickled=False)
    export_bundle(folder, tmp_path / "bundle", ExportSettings(scale=7), options=options)
    manifest = Bundle.open(tmp_path / "bundle").manifest
    assert manifest.quantisation.scale == 7
    assert "scale" not in manifest.provenance["training"]


def test_safetensors_are_read_alike(case: Case, tmp_path: Path) -> None:
    reference, encoder = case
    folder = reference.write(tmp_path / "vdr", pickled=False)
    options: Any = ImportOptions(tokenizer=write_vocabulary(tmp_path / "vocab.txt"))
    export_bundle(folder, tmp_path / "bundle", options=options)
    for name in ("heads.safetensors", "onnx/image_backbone.onnx", "term_tokens.json"):
        assert (tmp_path / "bundle" / name).read_bytes() == encoder.bundle.read(name)
