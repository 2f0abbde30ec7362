"""The model: any backbone, heads that share nothing, and pooling exactly as LexLIP defines it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexlip_kernels.errors import InputError
from lexlip_training import ImageTowerConfig, LexLIP, ModelConfig, TextTowerConfig, preset

SIZE = 64
TEXT = TextTowerConfig(layers=1, heads=2, intermediate_size=64, max_positions=32)


def config(backbone: str, hidden_size: int = 32, adapter_layers: int = 1, **options: object) -> ModelConfig:
    image = ImageTowerConfig(
        backbone=backbone,
        backbone_options=options,
        image_size=SIZE,
        resize="squash",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        adapter_layers=adapter_layers,
        adapter_heads=2,
    )
    return ModelConfig(name="test", vocab_size=61, hidden_size=hidden_size, image=image, text=TEXT)


def official_pooling(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """As the paper's code writes it: additive mask, ReLU, maximum over tokens, logarithm."""
    if mask is not None:
        logits = logits + (1 - mask.unsqueeze(-1)) * -1e6
    return (1 + logits.relu().max(dim=1).values).log()


@pytest.mark.parametrize(
    ("backbone", "tokens", "options"),
    [
        ("test_vit", 17, {"img_size": SIZE}),
        ("test_efficientnet", 4, {}),
        ("test_resnet", 4, {}),
        ("swin_tiny_patch4_window7_224", 4, {"img_size": SIZE, "window_size": 2}),
    ],
)
def test_any_backbone_yields_tokens(backbone: str, tokens: int, options: dict[str, object]) -> None:
    model = LexLIP(config(backbone, **options)).eval()
    hidden = model.image_hidden(torch.rand(2, 3, SIZE, SIZE))
    assert hidden.shape == (2, tokens, 32)
    assert model.image_weights(torch.rand(2, 3, SIZE, SIZE)).shape == (2, 61)


def test_a_conv_map_becomes_tokens_in_row_order() -> None:
    model = LexLIP(config("test_efficientnet")).eval()
    pixels = torch.rand(1, 3, SIZE, SIZE)
    features = model.image_tower.backbone.forward_features(pixels)
    tokens = model.image_tower.backbone_tokens(pixels)
    torch.testing.assert_close(tokens[0, 3], features[0, :, 1, 1])


def test_pooling_equals_the_official_order_of_operations() -> None:
    model = LexLIP(config("test_vit", img_size=SIZE)).eval()
    with torch.no_grad():
        model.image_head.bias.normal_(std=0.1)
        model.text_head.bias.normal_(std=0.1)
    pixels = torch.rand(3, 3, SIZE, SIZE)
    head = model.image_head
    logits = model.image_hidden(pixels) @ head.weight.T + head.bias
    torch.testing.assert_close(model.image_weights(pixels), official_pooling(logits), rtol=1e-5, atol=1e-6)
    ids = torch.randint(5, 61, (3, 9))
    mask = (torch.arange(9)[None] < torch.tensor([9, 4, 1])[:, None]).long()
    head = model.text_head
    logits = model.text_hidden(ids, mask) @ head.weight.T + head.bias
    torch.testing.assert_close(model.text_weights(ids, mask), official_pooling(logits, mask), rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing() -> None:
    model = LexLIP(config("test_vit", img_size=SIZE)).eval()
    ids = torch.randint(5, 61, (2, 6))
    padded = torch.cat([ids, torch.randint(5, 61, (2, 4))], dim=1)
    mask = torch.ones_like(ids)
    padded_mask = torch.cat([mask, torch.zeros(2, 4, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(model.text_weights(ids, mask), model.text_weights(padded, padded_mask))


def test_heads_share_nothing_unless_tied(model_config: ModelConfig) -> None:
    free = LexLIP(model_config.model_copy(update={"tie_decoders": False}))
    pointers = [parameter.data_ptr() for parameter in free.parameters()]
    assert len(pointers) == len(set(pointers))
    assert not torch.equal(free.image_head.weight, free.text_head.weight)
    tied = LexLIP(model_config)
    assert tied.image_head.weight is tied.text_head.weight is tied.text_tower.word_embeddings
    assert tied.image_head.dense.weight is not tied.text_head.dense.weight


def test_term_bonus_raises_the_logit_of_present_terms_by_exactly_that(model_config: ModelConfig) -> None:
    model = LexLIP(model_config).eval()
    term = 77
    ids, mask = torch.tensor([[2, term, 3]]), torch.ones(1, 3, dtype=torch.int64)

    def logit(bonus: float) -> float:
        with torch.no_grad():
            model.term_bonus.fill_(bonus)
            return float(model.text_hidden(ids, mask)[0, 1] @ model.text_head.weight[term])

    assert logit(2.5) - logit(0.0) == pytest.approx(2.5, abs=1e-4)


def test_suppressed_terms_never_get_a_weight(random_model: LexLIP) -> None:
    suppressed = list(random_model.config.suppressed_ids)
    ids = torch.tensor([suppressed[:10]])
    weights = random_model.text_weights(ids, torch.ones_like(ids))
    assert weights.sum() > 0
    assert (weights[:, suppressed] == 0).all()


def test_random_tokens_only_while_training(model_config: ModelConfig) -> None:
    image = model_config.image.model_copy(update={"training_tokens": 2})
    model = LexLIP(model_config.model_copy(update={"image": image}))
    pixels = torch.rand(2, 3, 64, 64)
    assert model.train().image_hidden(pixels).shape[1] == 2
    assert model.eval().image_hidden(pixels).shape[1] == 4


def test_frozen_batch_norm_stays_in_evaluation_mode(model_config: ModelConfig) -> None:
    model = LexLIP(model_config).train()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)


def test_tiny_preset_is_tiny() -> None:
    model = LexLIP(preset("lexlip-tiny"))
    assert sum(parameter.numel() for parameter in model.parameters()) <= 14e6


def test_base_preset_has_the_shapes_of_the_paper() -> None:
    with torch.device("meta"):
        model = LexLIP(preset("lexlip-base").model_copy(update={"vocab_size": 30522}))
    image = sum(p.numel() for p in model.image_tower.parameters())
    assert image == pytest.approx(85.76e6, abs=0.05e6)
    text = sum(p.numel() for p in [*model.text_tower.parameters(), *model.text_head.parameters()])
    assert text == pytest.approx(132.95e6, abs=0.05e6)
    assert sum(p.numel() for p in model.image_head.parameters()) == pytest.approx(24.06e6, abs=0.05e6)
    assert model.image_head.weight is not model.text_tower.word_embeddings
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-12}


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_tower_is_enough(modality: str) -> None:
    other = "text" if modality == "image" else "image"
    both = config("test_vit", img_size=SIZE)
    model = LexLIP(ModelConfig.model_validate(both.model_dump() | {other: None}))
    assert model.config.modalities == (modality,)
    assert {name.split(".")[0] for name in model.state_dict()} == {f"{modality}_tower", f"{modality}_head"}
    ids = torch.tensor([[5, 6, 7]])
    weights = model.image_weights(torch.rand(1, 3, SIZE, SIZE)) if modality == "image" else None
    weights = model.text_weights(ids, torch.ones_like(ids)) if weights is None else weights
    assert weights.shape == (1, 61)


def test_a_model_has_at_least_one_tower() -> None:
    settings = config("test_vit", img_size=SIZE).model_dump()
    for update, message in [
        ({"image": None, "text": None}, "expected at least one of them"),
        ({"text": None, "tie_decoders": True}, "no word embeddings to decode with"),
    ]:
        with pytest.raises(ValueError, match=message):
            ModelConfig.model_validate(settings | update)


def test_bad_configurations_are_refused() -> None:
    with pytest.raises(InputError, match="no preset is called 'lexlip-huge'"):
        preset("lexlip-huge")
    with pytest.raises(InputError, match="no model called"):
        LexLIP(config("not_a_backbone"))
    with pytest.raises(InputError, match="set adapter_layers"):
        LexLIP(config("test_vit", hidden_size=48, adapter_layers=0, img_size=SIZE))
