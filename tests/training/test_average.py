"""Averages of checkpoints: equal weights, one record of all parts, and refusals that leave nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from lexlip_kernels.errors import InputError, OutputError
from lexlip_training.checkpoint import load_checkpoint, save_checkpoint
from lexlip_training.cli import average
from lexlip_training.record import mean_record

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lexlip_training import LexLIP

START = {"settings": {"seed": 0}}


@pytest.fixture
def three(random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> list[Path]:
    """The same model three times, its weights times 1, 2 and 6."""
    folders = []
    for seed, factor in enumerate((1, 2, 6)):
        model = copy.deepcopy(random_model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(factor)
        folders.append(tmp_path / f"run{seed}")
        record = {"notice": "Mine.", "settings": {"seed": seed}, "continued_from": START}
        save_checkpoint(folders[-1], model, tokenizer, record)
    return folders


def test_the_mean_of_three(three: list[Path], random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    average(tmp_path / "mean", three)
    model, words, record = load_checkpoint(tmp_path / "mean")
    for (name, found), expected in zip(model.named_parameters(), random_model.parameters(), strict=True):
        assert torch.allclose(found, expected * 3, rtol=1e-6), name
    assert words.to_str() == tokenizer.to_str()
    assert record["notice"] == "Mine."
    assert [part["settings"]["seed"] for part in record["average_of"]] == [0, 1, 2]
    assert record["all_continued_from"] == START


def test_parts_with_starts_of_their_own_keep_them() -> None:
    record = mean_record([{"notice": "A.", "continued_from": {"x": 1}}, {"notice": "B.", "continued_from": {"x": 2}}])
    assert record["notice"] == "A. B."
    assert [part["continued_from"]["x"] for part in record["average_of"]] == [1, 2]
    assert "all_continued_from" not in record


def test_refusals(three: list[Path], random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give two or more"):
        average(tmp_path / "mean", three[:1])
    with pytest.raises(OutputError, match="run1"):
        average(three[1], three)
    config = three[2] / "config.json"
    config.write_text(config.read_text().replace(random_model.config.name, "another"))
    with pytest.raises(InputError, match="run2: its configuration is not that of"):
        average(tmp_path / "mean", three)
    other = copy.deepcopy(tokenizer)
    other.no_padding()
    other.enable_padding(length=5)
    save_checkpoint(three[2], random_model, other, {})
    with pytest.raises(InputError, match="run2: its tokenizer is not that of"):
        average(tmp_path / "mean", three)
    assert not (tmp_path / "mean").exists()
