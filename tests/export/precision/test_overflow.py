"""The overflow probe names the first layer that leaves the range of half, and by how much."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import Tensor

from lexlip_export.precision.candidates import Half
from lexlip_export.precision.half import watched
from lexlip_infer.errors import BundleError
from lexlip_training import LexLIP

IDS = torch.randint(1, 100, (2, 9), generator=torch.Generator().manual_seed(0))
TEXTS = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
IMAGES = {"pixel_values": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))}


@pytest.fixture
def model(random_model: LexLIP) -> LexLIP:
    return copy.deepcopy(random_model)


@torch.no_grad()
def plant_residual_outlier(model: LexLIP) -> None:
    """Two additions of 3.5e4 to one channel of the residual stream: each fits into half, their sum does not."""
    block = model.image_tower.adapter.layers[0]
    block.attn.proj.bias[5] = 3.5e4
    block.mlp.fc2.bias[5] = 3.5e4


def test_a_planted_residual_outlier_names_the_block(model: LexLIP) -> None:
    plant_residual_outlier(model)
    with pytest.raises(BundleError) as refusal:
        Half(model).encode("image", IMAGES)
    message = str(refusal.value)
    assert "fp16 refused: layer image_tower.adapter.layers.0 overflows first: it reaches" in message
    assert float(re.findall(r"reaches (\S+) in float32", message)[0]) == pytest.approx(7e4, rel=1e-3)
    assert "1.07 times the largest half (65504)" in message
    assert len(message.splitlines()) == 1


def test_float32_does_not_mind(model: LexLIP) -> None:
    plant_residual_outlier(model)
    with torch.no_grad():
        assert model.image_weights(IMAGES["pixel_values"]).isfinite().all()


def test_a_product_that_overflows_names_its_layer(model: LexLIP) -> None:
    with torch.no_grad():
        model.text_tower.bert.encoder.layer[0].intermediate.dense.weight[0, ::2] = 5e4
    with pytest.raises(BundleError, match=r"layer text_tower\.bert\.encoder\.layer\.0\.intermediate\.dense overflows"):
        Half(model).encode("text", TEXTS)


def test_an_overflow_inside_a_layer_is_found_by_its_output(model: LexLIP) -> None:
    """Attention scores are no layer's output: the attention that they spoil is named."""
    with torch.no_grad():
        attention = model.image_tower.adapter.layers[0].attn
        attention.qkv.weight.zero_()
        attention.qkv.bias[:64] = 300.0
    with pytest.raises(BundleError, match=r"layers\.0\.attn\S* overflows first: it is not finite in half .* inside it"):
        Half(model).encode("image", IMAGES)


def test_logits_that_overflow_name_the_decoder(model: LexLIP) -> None:
    with torch.no_grad():
        model.text_head.norm.weight.mul_(2e4)
    with pytest.raises(BundleError, match=r"layer text_head\.(norm|decoder) overflows first: it reaches"):
        Half(model).encode("text", TEXTS)


def test_the_largest_activation_is_the_largest_of_all_batches(model: LexLIP) -> None:
    half = Half(model)
    half.encode("text", TEXTS)
    first = half.largest
    half.encode("image", IMAGES)
    assert first is not None
    assert half.largest is not None
    seen: dict[str, float] = {}

    def record(path: str, output: Tensor) -> None:
        seen[path] = float(output.abs().max())

    for path, module in half._half.named_modules():
        module.register_forward_hook(
            lambda _m, _i, output, path=path: record(path, output) if isinstance(output, Tensor) else None
        )
    half.encode("image", IMAGES)
    expected = max(seen.values())
    assert half.largest.value >= first.value
    assert half.largest.value == pytest.approx(max(expected, first.value), rel=1e-3)
    assert half.largest.headroom == pytest.approx(65504 / half.largest.value)


def test_watching_leaves_no_hook_behind(model: LexLIP) -> None:
    with pytest.raises(ZeroDivisionError), watched(model):
        _ = 1 / 0
    assert not any(module._forward_hooks for module in model.modules())


def test_not_a_number_counts_as_infinite() -> None:
    layers = torch.nn.Sequential(torch.nn.Identity())
    with watched(layers) as peaks:
        layers(torch.tensor([1.0, float("nan")]))
    assert peaks == {"0": torch.inf}
