"""Weights for queries without a text tower: from a checkpoint, through the command and the engine, to torch's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load
from small_models import lookup_config, small_model
from tokenizers import Tokenizer

from lexlip_export.cli import run
from lexlip_infer import LexLIPEncoder
from lexlip_training import save_checkpoint


@pytest.mark.parametrize("storage", [(), ("--half-storage",), ("--int8-storage",)])
def test_a_query_is_what_training_made_of_it(
    storage: tuple[str, ...], tokenizer: Tokenizer, captions: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(lookup_config(tokenizer))
    save_checkpoint(tmp_path / "checkpoint", model, tokenizer, {"notice": "Random weights."})
    arguments = [str(tmp_path / "checkpoint"), str(tmp_path / "bundle"), *storage]
    monkeypatch.setattr(sys, "argv", ["lexlip-export", *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 0
    with torch.no_grad():
        weights = model.lookup_weights()
        present = torch.zeros(len(captions), len(weights))
        for row, caption in enumerate(captions):
            present[row, tokenizer.encode(caption).ids[:15]] = 1
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    found = encoder.encode_query(captions, top_k=len(weights), mode="lookup")
    np.testing.assert_array_equal(found.to_dense(), (present * weights).numpy())
    assert (found.to_dense() > 0).any(axis=1).all()
    stored = load((tmp_path / "bundle" / "heads.safetensors").read_bytes())["text.static_weight"]
    np.testing.assert_array_equal(stored, weights.numpy())  # in float32, whatever the storage
    assert (stored[list(encoder.manifest.suppressed_ids)] == 0).all()
    manifest = json.loads((tmp_path / "bundle" / "lexlip.json").read_text())
    assert (manifest["format_version"], manifest["text"]) == (4, {"max_length": 16, "static": "once"})
