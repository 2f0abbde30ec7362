"""The dense baseline: which token speaks for an image, and checkpoints of either kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_pairs import SIZE, tiny_config
from tokenizers import Tokenizer

from lexlip_kernels.errors import BundleError, InputError
from lexlip_training import LexLIP, ModelConfig, load_checkpoint, save_checkpoint
from lexlip_training.checkpoint import load_dense_checkpoint
from lexlip_training.model import DenseConfig, DenseModel


@pytest.fixture(scope="module")
def model() -> DenseModel:
    torch.manual_seed(0)
    return DenseModel(DenseConfig(towers=tiny_config())).eval()


def test_vectors_are_the_cls_tokens_at_length_1(model: DenseModel) -> None:
    pixels, ids = torch.randn(2, 3, SIZE, SIZE), torch.tensor([[5, 6, 7], [8, 9, 0]])
    mask = (ids > 0).long()
    assert model.config.image_pooling == "cls"
    token = model.image_tower(model.image_tower.backbone_tokens(pixels))[:, 0]
    torch.testing.assert_close(model.image_vectors(pixels), token / token.norm(dim=1, keepdim=True))
    texts = model.text_vectors(ids, mask)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))
    ids[1, 2] = 11  # padding
    torch.testing.assert_close(model.text_vectors(ids, mask), texts)


def test_a_backbone_without_cls_gives_the_mean(model_config: ModelConfig) -> None:
    model = DenseModel(DenseConfig(towers=model_config)).eval()
    assert model.config.image_pooling == "mean"
    pixels = torch.randn(2, 3, 64, 64)
    tokens = model.image_tower(model.image_tower.backbone_tokens(pixels))
    torch.testing.assert_close(model.pooled_images(pixels), tokens.mean(dim=1))
    with pytest.raises(InputError, match="keeps no CLS token; use 'mean' or 'auto'"):
        DenseModel(DenseConfig(towers=model_config, image_pooling="cls"))


def test_both_towers_are_needed() -> None:
    with pytest.raises(InputError, match="needs both towers"):
        DenseModel(DenseConfig(towers=tiny_config().model_copy(update={"text": None})))


def test_checkpoints_of_both_kinds(
    model: DenseModel, random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "dense", model, tokenizer, {"steps": 3})
    save_checkpoint(tmp_path / "lexicon", random_model, tokenizer, {})
    loaded, _, training = load_dense_checkpoint(tmp_path / "dense")
    assert json.loads((tmp_path / "dense" / "config.json").read_text())["image_pooling"] == "cls"
    assert training == {"steps": 3}
    assert not loaded.training
    pixels = torch.randn(1, 3, SIZE, SIZE)
    torch.testing.assert_close(loaded.image_vectors(pixels), model.image_vectors(pixels), rtol=0, atol=0)
    with pytest.raises(BundleError, match="has no lexicon"):
        load_checkpoint(tmp_path / "dense")
    with pytest.raises(BundleError, match="expected a checkpoint of a dense one"):
        load_dense_checkpoint(tmp_path / "lexicon")
    with pytest.raises(BundleError, match=r"config\.json is missing"):
        load_dense_checkpoint(tmp_path / "nothing")
