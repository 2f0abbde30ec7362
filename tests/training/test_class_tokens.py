"""What the classifier knows, as tokens: whose posterior counts, and that gradients reach everything."""

from __future__ import annotations

import pytest
import torch
from small_lexicon import seeing_config, seeing_model, small_lexicon
from torch import Tensor

from lexlip_kernels.errors import InputError
from lexlip_training import LexLIP, ModelConfig
from lexlip_training.config import ImageTowerConfig
from lexlip_training.towers import depthwise_in_float32

CLASSES = 5


@pytest.fixture
def model() -> LexLIP:
    return seeing_model(small_lexicon()).eval()


@pytest.fixture
def patches(model: LexLIP) -> Tensor:
    with torch.no_grad():
        return model.image_tower.backbone_tokens(torch.rand(3, 3, 64, 64))


def test_tokens_of_classes_stand_behind_those_of_the_picture(model: LexLIP, patches: Tensor) -> None:
    assert patches.shape[1] == 4
    assert model.image_tower(patches).shape == (3, 4 + 2, 32)
    assert model.image_hidden(torch.rand(2, 3, 64, 64)).shape == (2, 6, 32)


def test_without_a_posterior_the_classifiers_own_counts(model: LexLIP, patches: Tensor) -> None:
    tower = model.image_tower
    own = tower.class_logits(patches).softmax(dim=1)
    torch.testing.assert_close(tower(patches), tower(patches, own))
    other = torch.eye(CLASSES)[[4, 4, 4]]
    assert not torch.allclose(tower(patches)[:, 4:], tower(patches, other)[:, 4:])


def test_a_likelier_class_has_a_longer_token(model: LexLIP) -> None:
    made = model.image_tower.class_tokens
    tokens = made(torch.tensor([[0.0, 0.9, 0.0, 0.1, 0.0], [0.0, 0.1, 0.0, 0.9, 0.0]]))
    directions = tokens[:, 0] / made.embedding[[1, 3]]  # the likeliest first; nothing is added yet
    torch.testing.assert_close(directions, torch.full_like(directions, 10.0).log())  # log(1 + 10 * 0.9)
    torch.testing.assert_close(tokens[0, 1] / made.embedding[3], torch.full((32,), 2.0).log())


def test_only_patches_are_left_out_in_training() -> None:
    config = seeing_config(small_lexicon())
    assert config.image is not None
    image = config.image.model_copy(update={"training_tokens": 3})
    tower = LexLIP(config.model_copy(update={"image": image})).train().image_tower
    patches = torch.rand(2, 4, tower.backbone.num_features)
    assert tower(patches).shape[1] == 3 + 2
    assert tower.tokens_of_classes(patches, torch.eye(CLASSES)[:2], 1).shape[1] == 1 + 2
    assert tower.eval()(patches).shape[1] == 4 + 2


def test_gradients_reach_classifier_and_embeddings(model: LexLIP) -> None:
    tower = model.train().image_tower
    model.image_logits(tower.backbone_tokens(torch.rand(2, 3, 64, 64))).square().sum().backward()
    for parameter in (tower.class_tokens.embedding, tower.class_tokens.kind, tower.backbone.classifier.weight):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_suppressed_terms_weigh_nothing_in_a_lookup_query(model: LexLIP) -> None:
    weights = model.lookup_weights()
    suppressed = list(model.config.suppressed_ids)
    assert suppressed
    assert weights[suppressed].eq(0).all()
    kept = torch.ones(len(weights), dtype=torch.bool)
    kept[suppressed] = False
    torch.testing.assert_close(weights[kept], torch.full((int(kept.sum()),), 2.0).log())  # softplus(0)
    weights.sum().backward()
    assert model.query_weight.grad is not None
    assert model.query_weight.grad[suppressed].eq(0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_tokens": 6}, "6 class tokens of 5 classes; expected at most that many"),
        ({"adapter_layers": 0}, "set adapter_layers to at least 1"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, int], message: str) -> None:
    image = seeing_config(small_lexicon()).image
    assert image is not None
    with pytest.raises(ValueError, match=message):
        ImageTowerConfig.model_validate(image.model_dump() | changes)


def test_a_backbone_without_such_a_classifier_is_refused() -> None:
    config = seeing_config(small_lexicon()).model_dump()
    config["image"] |= {"backbone": "test_vit", "backbone_options": {"img_size": 64}}
    with pytest.raises(InputError, match="test_vit has no classifier of convolutional features; set class_tokens = 0"):
        LexLIP(ModelConfig.model_validate(config))


def test_depthwise_convolutions_stay_out_of_autocast(model: LexLIP) -> None:
    backbone = model.image_tower.backbone
    depthwise = next(m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1)
    features = torch.rand(1, depthwise.in_channels, 8, 8)
    exact, names = depthwise(features), list(model.state_dict())
    depthwise_in_float32(backbone)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(depthwise(features), exact)
        assert depthwise(features.bfloat16()).dtype == torch.bfloat16
    assert list(model.state_dict()) == names
