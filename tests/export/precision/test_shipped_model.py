"""The gate on trained weights: the model that ships passes it in half precision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from lexlip_export import ExportSettings
from lexlip_export.precision.candidates import Half
from lexlip_export.precision.gate import run_gate
from lexlip_export.precision.inputs import CaptionInputs
from lexlip_export.settings import GateSettings
from lexlip_infer import Bundle, LexLIPEncoder
from lexlip_training import LexLIP


def test_the_model_read_back_is_the_shipped_one(shipped_model: LexLIP, captions: list[str]) -> None:
    encoder = LexLIPEncoder.from_pretrained(threads=1, precision="f32")
    assert shipped_model.config.image is not None
    size = shipped_model.config.image.image_size
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    ids, mask = encoder.tokenize(captions)
    with torch.no_grad():
        image = shipped_model.image_weights(pixels).numpy()
        text = shipped_model.text_weights(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    every_term = encoder.manifest.vocab_size
    assert np.abs(encoder.encode_pixels(pixels.numpy(), top_k=every_term).to_dense() - image).max() < 1e-3
    assert np.abs(encoder.encode_texts(captions, top_k=every_term).to_dense() - text).max() < 1e-3


def test_it_passes_the_half_gate_with_room_to_spare(shipped_model: LexLIP, tmp_path: Path) -> None:
    """On photographs: noise, which it never saw, is rounded a little more."""
    folder = Path(__file__).parents[3] / "examples/photographs"
    rows = [{"image": str(path), "captions": [path.stem], "split": "dev"} for path in sorted(folder.glob("*.jpg"))]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = Tokenizer.from_str(Bundle.open().read("tokenizer.json").decode())
    inputs = CaptionInputs(tmp_path / "captions.jsonl", "dev", shipped_model.config, tokenizer)
    half = Half(shipped_model)
    gate = GateSettings()
    free = gate.fp16.model_copy(update={"recall_loss": 100.0, "agreement": 0.0})  # recall of twelve images jumps
    gate = gate.model_copy(update={"fp16": free})
    parity = run_gate(shipped_model, ("image", "text"), [half], inputs, ExportSettings(), gate)
    assert [report.precision for report in parity.precisions] == ["fp16"]
    assert half.largest is not None
    assert half.largest.headroom > 100
