"""The float16 logits graph, and what `lexicon_topk` makes of its output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from lexlip_export import ExportSettings
from lexlip_export.further_graphs import logits_graph
from lexlip_infer.errors import BundleError
from lexlip_kernels.lexicon_topk import lexicon_topk
from lexlip_training import LexLIP

MODALITIES = ("image", "text")
Both = pytest.mark.parametrize("modality", MODALITIES)

#: Half precision keeps eleven bits; logits of the random model reach 30 and pass through three layers.
TOLERANCE = 0.03


@pytest.fixture(scope="module")
def half_backbones(graphs_folder: Path) -> dict[str, onnx.ModelProto]:
    return {modality: onnx.load(graphs_folder / f"onnx/{modality}_backbone_fp16.onnx") for modality in MODALITIES}


def head_of(model: LexLIP, modality: str) -> tuple[Any, Any]:
    head = getattr(model, f"{modality}_head")
    return head.weight.detach().numpy(), head.decoder_bias().detach().numpy()


@pytest.fixture(scope="module")
def logits(graphs_folder: Path, session: Any, inputs: Any) -> dict[str, Any]:
    paths = {modality: graphs_folder / f"onnx/{modality}_logits_fp16.onnx" for modality in MODALITIES}
    return {modality: session(path.read_bytes())(inputs[modality])["logits"] for modality, path in paths.items()}


@Both
def test_logits_are_the_decoders_product(
    random_model: LexLIP, half_backbones: Any, logits: Any, session: Any, inputs: Any, modality: str
) -> None:
    weight, bias = (array.astype(np.float16).astype(np.float32) for array in head_of(random_model, modality))
    hidden = session(half_backbones[modality].SerializeToString())(inputs[modality])["hidden"]
    expected = hidden.astype(np.float32) @ weight.T + bias
    assert logits[modality].dtype == np.float16
    np.testing.assert_allclose(logits[modality].astype(np.float32), expected, rtol=2e-3, atol=0.02)


@Both
def test_lexicon_topk_of_it_is_the_models_result(random_model: LexLIP, logits: Any, inputs: Any, modality: str) -> None:
    feeds = [torch.from_numpy(array) for array in inputs[modality].values()]
    with torch.no_grad():
        expected = getattr(random_model, f"{modality}_weights")(*feeds)
    mask = feeds[1] if modality == "text" else None
    ids, weights, counts = lexicon_topk(torch.from_numpy(logits[modality]), expected.shape[1], mask, "reference")
    actual = torch.zeros_like(expected)
    for row, count in enumerate(counts.tolist()):
        actual[row, ids[row, :count]] = weights[row, :count]
    assert (actual - expected).abs().max() < TOLERANCE
    assert (actual[:, list(random_model.config.suppressed_ids)] == 0).all()
    assert counts.min() > 0


def test_an_outlier_in_the_decoder_is_refused(random_model: LexLIP, half_backbones: Any) -> None:
    weight, bias = head_of(random_model, "image")
    with pytest.raises(BundleError, match="the decoder holds values that float16 cannot"):
        logits_graph(half_backbones["image"], weight * 1e6, bias)


def test_a_float32_backbone_is_refused(random_model: LexLIP, graphs_folder: Any) -> None:
    backbone = onnx.load(graphs_folder / "onnx/image_backbone.onnx")
    with pytest.raises(BundleError, match="whose `hidden` is float16; give it the fp16 backbone"):
        logits_graph(backbone, *head_of(random_model, "image"))


def test_asking_for_it_asks_for_the_half_backbone_too() -> None:
    assert ExportSettings(graphs=("logits-fp16",)).precisions == ("f32", "fp16")
    assert ExportSettings(graphs=("merged",), precisions=("int8",)).precisions == ("f32", "int8")
