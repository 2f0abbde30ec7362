"""The recipe's objective on a small model: each part can be learnt, and what does not fit is refused."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import scipy.sparse
import torch
from captions import CAPTIONS
from small_lexicon import seeing_config, seeing_model, small_lexicon

from lexlip_kernels.errors import InputError
from lexlip_training import LexLIP
from lexlip_training.data.batch import PairBatch, padded
from lexlip_training.objectives import ObjectiveConfig, build_objective
from lexlip_training.objectives.recipe import WEIGHTS, RecipeObjective

LEXICON = small_lexicon()
IDS = [[encoding.ids[:16]] * 2 for encoding in LEXICON.tokenizer.encode_batch(CAPTIONS)]


def objective(**settings: float) -> RecipeObjective:
    made = build_objective(ObjectiveConfig(kind="recipe", **settings), seeing_model(LEXICON), IDS, LEXICON)
    assert isinstance(made, RecipeObjective)
    return made.train()


@pytest.fixture(scope="module")
def batch() -> PairBatch:
    torch.manual_seed(1)
    input_ids, mask = padded([ids for captions in IDS for ids in captions])
    rows = torch.arange(len(IDS))
    return PairBatch(torch.rand(len(IDS), 3, 64, 64), input_ids, mask, rows, rows)


def test_all_parts_are_there_and_finite(batch: PairBatch) -> None:
    figures = objective()(batch)
    assert set(figures) == {"loss", *WEIGHTS}
    assert all(bool(figure.isfinite()) for figure in figures.values())
    assert figures["loss"].requires_grad
    assert not any(figures[name].requires_grad for name in WEIGHTS)


def test_the_loss_is_the_weighed_sum(batch: PairBatch) -> None:
    settings = {"bag_weight": 0.1, "word_weight": 0.2, "flops_weight": 0.3, "class_weight": 0.4}
    settings |= {"meaning_weight": 0.5, "teacher_weight": 0.6, "own_weight": 0.7}
    figures = objective(**settings)(batch)
    weighed = sum(settings.get(setting or "", 1.0) * figures[part] for part, setting in WEIGHTS.items())
    torch.testing.assert_close(figures["loss"].detach(), weighed)


@pytest.mark.parametrize("part", WEIGHTS)
def test_each_part_can_be_learnt_alone(batch: PairBatch, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = objective()
    monkeypatch.setattr(made, "_weight", lambda name: float(name == part))
    if part == "classes":  # it starts where it wants to be
        with torch.no_grad():
            made.model.image_tower.backbone.classifier.bias.copy_(torch.linspace(-1, 1, 5))
    optimiser = torch.optim.Adam(made.parameters(), lr=3e-3)
    values = []
    random.seed(0)
    for _ in range(25):
        figures = made(batch)
        optimiser.zero_grad()
        figures["loss"].backward()
        optimiser.step()
        values.append(float(figures[part]))
    assert sum(values[-5:]) < 0.9 * sum(values[:5])


def test_a_frozen_backbone_has_no_part_of_the_teacher(batch: PairBatch) -> None:
    made = objective()
    made.model.image_tower.backbone.requires_grad_(False)
    assert set(made(batch)) == {"loss", *WEIGHTS} - {"classes"}


def test_a_batch_of_one_image_has_a_lesson(batch: PairBatch) -> None:
    texts = slice(0, 2)
    one = PairBatch(batch.pixels[:1], batch.input_ids[texts], batch.attention_mask[texts], *[torch.arange(1)] * 2)
    assert bool(objective()(one)["loss"].isfinite())


def test_the_teacher_stays_as_it_was_and_is_not_saved(batch: PairBatch) -> None:
    made = objective()
    before = made._teach(batch.pixels)
    with torch.no_grad():
        made.model.image_tower.backbone.classifier.bias.add_(torch.arange(5.0))
    torch.testing.assert_close(made.train()._teach(batch.pixels), before)
    saved = {name.split(".")[0] for name in made.state_dict()}
    assert saved == {"model", "learned", "average"}


def test_what_does_not_fit_is_refused() -> None:
    config, shapes = ObjectiveConfig(kind="recipe"), seeing_config(LEXICON)
    assert shapes.text is not None
    blind = LexLIP(shapes.model_copy(update={"text": shapes.text.model_copy(update={"lookup": False})}))
    with pytest.raises(InputError, match="no class tokens or no query weights; expected a model of preset lexlip-tiny"):
        build_objective(config, blind, IDS, LEXICON)
    fewer = replace(LEXICON, class_words=scipy.sparse.csr_array(LEXICON.class_words.toarray()[:4]))
    with pytest.raises(InputError, match="a lexicon of 4 classes and"):
        build_objective(config, seeing_model(LEXICON), IDS, fewer)
    with pytest.raises(InputError, match="with captions and a lexicon"):
        build_objective(config, seeing_model(LEXICON), IDS)
