"""Objectives as a whole: gradients by finite differences, switches, what is refused."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pydantic
import pytest
import torch
from tiny_pairs import VOCAB, pair_batch
from torch import Tensor

from lexlip_kernels.errors import InputError
from lexlip_training import LexLIP
from lexlip_training.data.batch import IGNORED, MaskedText, PairBatch
from lexlip_training.model import DenseConfig, DenseModel
from lexlip_training.objectives import ObjectiveConfig, build_objective
from lexlip_training.objectives.objective import Objective
from lexlip_training.objectives.pretrain import Pretrain

CASES = [
    ("pretrain_lexicon", "lexicon_model", {}),
    ("pretrain_lexicon", "lexicon_model", {"flops_normalised": False, "flops_weight": 0.1, "counts": "local"}),
    ("pretrain_lexicon", "lexicon_model", {"bottleneck_disabled": True}),
    ("pretrain_dense", "dense_model", {}),
    ("momentum_contrast", "lexicon_model", {}),
    ("momentum_contrast", "dense_model", {}),
]


def build(model: LexLIP | DenseModel, kind: str, **options: object) -> Objective:
    return build_objective(ObjectiveConfig.model_validate({"kind": kind, "queue_size": 8} | options), model).double()


@pytest.mark.parametrize(("kind", "model", "options"), CASES)
def test_gradients_equal_finite_differences(
    kind: str, model: str, options: dict[str, object], batch: PairBatch, request: pytest.FixtureRequest
) -> None:
    objective = build(request.getfixturevalue(model), kind, **options).train()
    objective(pair_batch(4, seed=2))
    objective.after_step()  # so that there are negatives
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.05 * torch.randn_like(parameter))
    objective(batch)["loss"].backward()
    for seed in range(3):
        torch.manual_seed(seed)
        directions = [torch.randn_like(parameter) for parameter in parameters]
        if kind == "pretrain_lexicon" and not options.get("bottleneck_disabled"):
            # The bottleneck reads the word embeddings, on purpose, without a gradient.
            table = objective.model.text_tower.word_embeddings
            directions = [d * (p is not table) for p, d in zip(parameters, directions, strict=True)]
        slope = sum(
            float((p.grad * d).sum()) for p, d in zip(parameters, directions, strict=True) if p.grad is not None
        )
        assert slope == pytest.approx(_difference(objective, batch, parameters, directions), rel=2e-5, abs=1e-7)
    # DistributedDataParallel waits for all of them.
    assert all(parameter.grad is not None for parameter in parameters)


@torch.no_grad()
def _difference(objective: Objective, batch: PairBatch, parameters: list[Tensor], directions: list[Tensor]) -> float:
    step, losses = 1e-7, []
    for sign in (1, -2):
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.add_(direction, alpha=sign * step)
        losses.append(float(objective(batch)["loss"]))
    for parameter, direction in zip(parameters, directions, strict=True):
        parameter.add_(direction, alpha=step)
    return (losses[0] - losses[1]) / (2 * step)


def test_loss_is_the_sum_of_its_terms(lexicon_model: LexLIP, batch: PairBatch) -> None:
    figures = build(lexicon_model, "pretrain_lexicon", flops_weight=0.5)(batch)
    expected = sum(figures[name] for name in ("self", "i2t", "t2t", "contrast")) + 0.5 * figures["flops"]
    torch.testing.assert_close(figures["loss"], expected)
    assert [name for name, figure in figures.items() if figure.requires_grad] == ["loss"]
    vectors = lexicon_model.image_weights(batch.pixels)
    assert float(figures["terms_image"]) == float((vectors > 0).sum()) / len(vectors)


def test_masks_are_asked_for_and_needed(lexicon_model: LexLIP, batch: PairBatch) -> None:
    assert build(lexicon_model, "momentum_contrast").uses_masks is None
    pretrain = build(lexicon_model, "pretrain_lexicon", decoder_mask=0.6)
    assert pretrain.uses_masks == (0.3, 0.6)
    with pytest.raises(InputError, match="batch without maskings"):
        pretrain(replace(batch, decoder_masked=None))


def test_the_bottleneck_replaces_the_first_token_and_padding_stays_out(lexicon_model: LexLIP, batch: PairBatch) -> None:
    objective = build(lexicon_model, "pretrain_lexicon").eval()
    assert isinstance(objective, Pretrain)
    assert objective.decoder is not None
    bert, bottleneck = lexicon_model.text_tower.bert, torch.randn(4, 16, dtype=torch.float64)
    mask = torch.ones_like(batch.attention_mask)
    mask[:, 5:] = 0

    def decoded(ids: Tensor, given: Tensor | None) -> Tensor:
        hidden: Tensor = objective.decoder(bert, ids, mask, given)[:, :5]
        return hidden

    other_start, other_padding = batch.input_ids.clone(), batch.input_ids.clone()
    other_start[:, 0] = 9
    other_padding[:, 5:] = 9
    expected = decoded(batch.input_ids, bottleneck)
    torch.testing.assert_close(decoded(other_start, bottleneck), expected)
    torch.testing.assert_close(decoded(other_padding, bottleneck), expected)
    assert not torch.allclose(decoded(other_start, None), decoded(batch.input_ids, None))
    assert not torch.allclose(decoded(batch.input_ids, 2 * bottleneck), expected)


def test_ablations_leave_out_decoder_or_bottleneck(lexicon_model: LexLIP, batch: PairBatch) -> None:
    without = build(lexicon_model, "pretrain_lexicon", decoder_disabled=True)
    assert not {"i2t", "t2t"} & set(without(batch))
    assert not [name for name, _ in without.named_parameters() if name.startswith("decoder.")]
    plain = build(lexicon_model, "pretrain_lexicon", bottleneck_disabled=True)(batch)
    torch.testing.assert_close(plain["i2t"], plain["t2t"])


def test_same_image_negatives_and_pruning_change_the_contrast(lexicon_model: LexLIP, batch: PairBatch) -> None:
    plain = build(lexicon_model, "pretrain_lexicon")(batch)
    harder = build(lexicon_model, "pretrain_lexicon", same_image_negatives=True)(batch)
    assert harder["contrast"] > plain["contrast"]
    pruned = build(lexicon_model, "pretrain_lexicon", joint_top_k=4)(batch)
    assert float(pruned["terms_image"]) == float(pruned["terms_text"]) == 4
    torch.testing.assert_close(pruned["flops"], plain["flops"])  # of all terms, or nothing would push them down


def test_words_that_an_index_must_not_hold_are_still_restored(random_model: LexLIP) -> None:
    """Shape of lexlip-tiny: tied decoders, term bonus, an adapter, suppressed terms with a bias of -1e4."""
    suppressed = random_model.config.suppressed_ids[-1]
    ids = torch.tensor([[2, suppressed, 60, 3], [2, 61, 62, 3]])
    labels = torch.tensor([[IGNORED, suppressed, IGNORED, IGNORED], [IGNORED, 61, IGNORED, IGNORED]])
    masked = MaskedText(ids.clone().index_fill(1, torch.tensor([1]), 4), labels)
    pixels, rows = torch.randn(2, 3, 64, 64), torch.arange(2)
    batch = PairBatch(pixels, ids, torch.ones_like(ids), rows, rows, masked, masked)
    figures = build_objective(ObjectiveConfig(kind="pretrain_lexicon"), random_model)(batch)
    assert 0 < float(figures["self"]) < 100
    assert 0 < float(figures["i2t"]) < 100


@pytest.mark.parametrize("kind", ["pretrain_lexicon", "pretrain_dense", "momentum_contrast"])
def test_every_parameter_of_the_shipped_shape_gets_a_gradient(kind: str, random_model: LexLIP) -> None:
    """DistributedDataParallel would wait for the others for ever."""
    model: LexLIP | DenseModel = deepcopy(random_model)
    if kind == "pretrain_dense":
        model = DenseModel(DenseConfig(towers=random_model.config))
    objective = build_objective(ObjectiveConfig.model_validate({"kind": kind, "queue_size": 8}), model).train()
    ids, rows = torch.tensor([[2, 60, 70, 3], [2, 61, 62, 3]]), torch.arange(2)
    masked = MaskedText(ids, ids)
    batch = PairBatch(torch.randn(2, 3, 64, 64), ids, torch.ones_like(ids), rows, rows, masked, masked)
    objective(batch)["loss"].backward()
    assert not [name for name, p in objective.named_parameters() if p.requires_grad and p.grad is None]


def test_autocast_leaves_comparisons_in_full_precision(lexicon_model: LexLIP, batch: PairBatch) -> None:
    batch = replace(batch, pixels=batch.pixels.float())
    objective = build(lexicon_model, "pretrain_lexicon").float().eval()
    exact = objective(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = objective(batch)
    assert {figure.dtype for figure in rough.values()} == {torch.float32}
    rough["loss"].backward()
    assert float(rough["loss"].detach()) == pytest.approx(float(exact["loss"].detach()), rel=0.05)


def test_bad_settings_are_refused(lexicon_model: LexLIP, dense_model: DenseModel) -> None:
    with pytest.raises(pydantic.ValidationError, match="extra"):
        ObjectiveConfig.model_validate({"kind": "momentum_contrast", "temprature": 0.1})
    with pytest.raises(pydantic.ValidationError, match="expected 'half' or 'dense'"):
        ObjectiveConfig(kind="momentum_contrast", queue_start="gaussian")
    with pytest.raises(InputError, match="pretrain_dense a DenseModel"):
        build(lexicon_model, "pretrain_dense")
    with pytest.raises(InputError, match="a dense model has none"):
        build(dense_model, "momentum_contrast", joint_top_k=VOCAB)
    with pytest.raises(InputError, match="a dense model has none"):
        build(dense_model, "momentum_contrast", storage="sparse")
    images_only = lexicon_model.config.model_copy(update={"text": None})
    with pytest.raises(InputError, match="images only"):
        build(LexLIP(images_only), "momentum_contrast")
