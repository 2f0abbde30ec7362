"""Checkpoint folders: what is damaged or missing is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lexlip_kernels.errors import BundleError
from lexlip_training import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lexlip_training import LexLIP


def test_damaged_checkpoints_are_refused(random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a checkpoint"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, random_model, tokenizer, {})
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BundleError, match="damaged checkpoint"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"name": "x"}')
    with pytest.raises(BundleError, match="damaged checkpoint"):
        load_checkpoint(tmp_path)
