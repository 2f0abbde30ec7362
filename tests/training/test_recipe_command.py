"""`lexlip-train recipe` refuses what it cannot train, each time in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from lexlip_kernels.errors import InputError
from lexlip_training.recipe_command import recipe


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    file = tmp_path / "captions.jsonl"
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    rows = [{"image": "red.png", "captions": ["a red square"], "split": split} for split in ("train", "dev")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("both", [False, True])
def test_one_starting_point(captions: Path, tmp_path: Path, both: bool) -> None:
    given = tmp_path / "weights" if both else None
    with pytest.raises(InputError, match="give either --backbone"):
        recipe(captions, tmp_path / "run", backbone=given, start=given, threads=torch.get_num_threads())


@pytest.mark.parametrize("text", ["{", '{"epochs": 0}', '{"epoch": 3}'])
def test_settings_are_checked(captions: Path, tmp_path: Path, text: str) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(text)
    with pytest.raises(InputError, match=r"settings\.json: not valid recipe settings"):
        recipe(captions, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()
