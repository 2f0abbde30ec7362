"""Checkpoints at another image size: same weights, interpolated positions, and refusals that leave nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from lexlip_kernels.errors import InputError, OutputError
from lexlip_training.checkpoint import load_checkpoint, save_checkpoint
from lexlip_training.cli import resize
from lexlip_training.model import LexLIP

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def test_everything_but_positions_stays(random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    old = random_model.config.image
    assert old is not None
    save_checkpoint(tmp_path / "small", random_model, tokenizer, {"notice": "Mine.", "settings": {"seed": 3}})
    resize(tmp_path / "small", tmp_path / "large", image_size=2 * old.image_size)
    model, words, record = load_checkpoint(tmp_path / "large")
    assert model.config.image == old.model_copy(update={"image_size": 2 * old.image_size})
    assert words.to_str() == tokenizer.to_str()
    assert (record["notice"], record["settings"]["seed"]) == ("Mine.", 3)
    [step] = record["resized"]
    assert (step["image_size"], step["earlier_image_size"]) == (2 * old.image_size, old.image_size)
    before, after = random_model.state_dict(), model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"image_tower.adapter.position"}
    assert after["image_tower.adapter.position"].shape[1] == 4 * before["image_tower.adapter.position"].shape[1]
    texts = torch.arange(20, 28)[None]
    mask = torch.ones_like(texts)
    assert torch.equal(model.text_weights(texts, mask), random_model.text_weights(texts, mask))


def test_the_same_size_changes_nothing(random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert random_model.config.image is not None
    save_checkpoint(tmp_path / "old", random_model, tokenizer, {})
    resize(tmp_path / "old", tmp_path / "new", image_size=random_model.config.image.image_size)
    model, _, _ = load_checkpoint(tmp_path / "new")
    assert model.config == random_model.config
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in random_model.state_dict().items())


def test_refusals(random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model", random_model, tokenizer, {})
    with pytest.raises(OutputError, match="model"):
        resize(tmp_path / "model", tmp_path / "model", image_size=64)
    texts = LexLIP(random_model.config.model_copy(update={"image": None, "tie_decoders": False}))
    save_checkpoint(tmp_path / "texts", texts, tokenizer, {})
    with pytest.raises(InputError, match="texts only"):
        resize(tmp_path / "texts", tmp_path / "out", image_size=64)
    assert not (tmp_path / "out").exists()
