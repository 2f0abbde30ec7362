"""The gate on trained weights: the model that ships passes it in half precision."""

from __future__ import annotations

import numpy as np
import torch

from lexlip_export import ExportSettings
from lexlip_export.precision.candidates import Half
from lexlip_export.precision.gate import run_gate
from lexlip_export.precision.inputs import SyntheticInputs
from lexlip_export.settings import GateSettings
from lexlip_infer import LexLIPEncoder
from lexlip_training import LexLIP


def test_the_model_read_back_is_the_shipped_one(shipped_model: LexLIP, captions: list[str]) -> None:
    encoder = LexLIPEncoder.from_pretrained(threads=1)
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


def test_it_passes_the_half_gate_with_room_to_spare(shipped_model: LexLIP) -> None:
    inputs = SyntheticInputs(shipped_model.config)
    half = Half(shipped_model)
    parity = run_gate(shipped_model, ("image", "text"), [half], inputs, ExportSettings(), GateSettings())
    assert [report.precision for report in parity.precisions] == ["fp16"]
    assert half.largest is not None
    assert half.largest.headroom > 100
