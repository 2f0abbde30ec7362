"""The half model: half where it may be, float32 where it must be, and the original untouched."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lexlip_export.backbone_graph import backbone_module
from lexlip_export.precision.half import half_model
from lexlip_infer.errors import BundleError
from lexlip_training import LexLIP


@pytest.fixture(scope="module")
def half(random_model: LexLIP) -> LexLIP:
    return half_model(random_model)


def test_weights_are_half_but_for_the_islands(half: LexLIP, random_model: LexLIP) -> None:
    islands = {"image_head.bias", "text_head.bias", "term_bonus"}
    norms = (nn.LayerNorm, nn.BatchNorm2d)
    for path, module in random_model.named_modules():
        if isinstance(module, norms):
            islands |= {f"{path}.{name}" for name in module.state_dict()}
    state = half.state_dict()
    for name, original in random_model.state_dict().items():
        if name in islands:
            assert torch.equal(state[name], original), name
        elif original.is_floating_point():
            assert state[name].dtype == torch.float16, name
            assert torch.equal(state[name], original.half()), name


def test_the_original_is_untouched(random_model: LexLIP) -> None:
    model = copy.deepcopy(random_model)
    half_model(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for name, value in random_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_decoders_stay_tied(half: LexLIP) -> None:
    assert half.text_head.weight is half.image_head.weight is half.text_tower.word_embeddings


def test_hidden_states_are_half_and_close(half: LexLIP, random_model: LexLIP) -> None:
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = backbone_module(half, "image")(pixels)
        expected = backbone_module(random_model, "image")(pixels)
    assert hidden.dtype == torch.float16
    assert expected.dtype == torch.float32
    assert (hidden.float() - expected).abs().mean() < 0.01 * expected.abs().mean()


def test_a_layer_norm_of_tiny_variance_is_finite(half: LexLIP) -> None:
    """With eps 1e-12 rounded to half, a constant row would be 0 / 0."""
    rows = torch.full((1, 2, 32), 3.0).half()
    assert half.text_head.norm.eps == 1e-12
    assert half.text_head.norm(rows).isfinite().all()


def test_squares_beyond_half_do_not_matter_to_a_norm(half: LexLIP, random_model: LexLIP) -> None:
    rows = (1e4 * torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0))).half()
    assert torch.equal(half.text_head.norm(rows), random_model.text_head.norm(rows.float()).half())


def test_padding_does_not_matter_in_half(half: LexLIP) -> None:
    """The attention mask of a half model is half too; its large negative numbers must not become NaN."""
    ids = torch.randint(1, 100, (1, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    padded_ids, padded_mask = (nn.functional.pad(x, (0, 5)) for x in (ids, mask))
    text = backbone_module(half, "text")
    with torch.no_grad():
        padded = text(padded_ids, padded_mask)
        assert padded.isfinite().all()
        assert (padded[:, :9].float() - text(ids, mask).float()).abs().max() < 5e-3


def test_the_bonus_of_rows_that_half_cannot_square(random_model: LexLIP) -> None:
    """|W[t]|^2 beyond 65504: the bonus is computed in float32 and comes out the same."""
    model = copy.deepcopy(random_model)
    with torch.no_grad():
        model.text_tower.word_embeddings.mul_(300)
        model.term_bonus.fill_(100.0)
    ids = torch.randint(1, 100, (1, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    half = half_model(model)
    assert model.text_head.weight[ids].square().sum(-1).min() > 65504
    with torch.no_grad():
        expected, hidden = model.text_hidden(ids, mask), half.text_hidden(ids, mask)
    assert (hidden - expected).abs().max() < 0.02


def test_a_weight_beyond_half_is_refused_by_name(random_model: LexLIP) -> None:
    model = copy.deepcopy(random_model)
    with torch.no_grad():
        model.image_tower.adapter.layers[0].mlp.fc2.bias[3] = -7e4
    with pytest.raises(
        BundleError,
        match=r"fp16 refused: the weight image_tower\.adapter\.layers\.0\.mlp\.fc2\.bias reaches 70000, 1.07",
    ):
        half_model(model)
