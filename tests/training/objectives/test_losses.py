"""The terms of the losses against numbers worked out by hand, and their gradients against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from lexlip_training.data.batch import IGNORED
from lexlip_training.objectives.momentum import DenseRows, KeyRows, SparseRows
from lexlip_training.objectives.objective import (
    alikeness,
    flops,
    keep_strongest,
    masked_tokens,
    pair_contrast,
    queue_contrast,
    unit_vectors,
)
from lexlip_training.objectives.pretrain import lexicon_bottleneck


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def random(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def test_masked_tokens_is_the_mean_over_all_hidden_tokens() -> None:
    hidden = torch.eye(2)[None].repeat(2, 1, 1)
    weight = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    labels = torch.tensor([[0, IGNORED], [1, 0]])
    # Logits (ln 3, 0) at the first token, (0, 0) at the second: -ln 3/4, -ln 1/4, -ln 1/2 over three hidden tokens.
    expected = (math.log(4 / 3) + math.log(4) + math.log(2)) / 3
    assert float(masked_tokens(hidden, labels, weight, torch.zeros(2))) == pytest.approx(expected)


@pytest.mark.parametrize("counts", ["global", "local"])
def test_a_batch_without_hidden_tokens_costs_nothing(counts: str) -> None:
    hidden = torch.randn(1, 2, 3, requires_grad=True)
    loss = masked_tokens(hidden, torch.full((1, 2), IGNORED), torch.randn(4, 3), torch.zeros(4), counts)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not hidden.grad.any()


def test_pair_contrast_by_hand() -> None:
    images, texts = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    # Scores texts x images at temperature 1: [[1, 0], [.6, .8]].
    to_image = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-0.2))) / 2
    to_text = (math.log(1 + math.exp(-0.4)) + math.log(1 + math.exp(-0.8))) / 2
    assert float(pair_contrast(images, texts, 1.0)) == pytest.approx(0.5 * (to_image + to_text))


def test_two_captions_of_one_image_are_no_negatives_of_each_other() -> None:
    vectors = torch.eye(3)
    ids = torch.tensor([7, 7, 8])
    loss = pair_contrast(vectors, vectors, 1.0, ids[:, None] == ids[None, :])
    two = math.log(1 + math.exp(-1))  # one negative left for the first two rows, two for the third
    three = math.log(1 + 2 * math.exp(-1))
    assert float(loss) == pytest.approx((2 * two + three) / 3)


def test_queue_contrast_by_hand() -> None:
    queries, keys = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    negatives = torch.tensor([[0.2, 0.9, 0.4]])
    allowed = torch.tensor([[True, False, True]])
    expected = math.log(1 + math.exp((0.2 - 0.6) / 0.5) + math.exp((0.4 - 0.6) / 0.5))
    assert float(queue_contrast(queries, keys, negatives, allowed, 0.5)) == pytest.approx(expected)
    assert float(queue_contrast(queries, keys, negatives, allowed & False, 0.5)) == 0


def test_flops_by_hand() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.5, -2.0]])
    assert float(flops(vectors)) == pytest.approx(0.75**2 + 1.0**2)
    assert float(flops(vectors, "local")) == pytest.approx(0.75**2 + 1.0**2)


def test_alikeness_tells_equal_vectors_from_different_ones() -> None:
    assert float(alikeness(torch.eye(4)[:1].repeat(4, 1))) == pytest.approx(1)
    assert float(alikeness(torch.eye(4))) == pytest.approx(1 / 4)


def test_unit_vectors_keep_zero_and_widen_half() -> None:
    assert not unit_vectors(torch.zeros(1, 3)).any()
    assert unit_vectors(torch.ones(1, 4, dtype=torch.float16)).dtype == torch.float32
    assert unit_vectors(torch.tensor([[3.0, 4.0, 1.0]]), top_k=2).tolist() == [pytest.approx([0.6, 0.8, 0.0])]


def test_keep_strongest_passes_gradients_straight_through() -> None:
    weights = torch.tensor([[1.0, 3.0, 2.0]], requires_grad=True)
    pruned = keep_strongest(weights, 2)
    assert pruned.tolist() == [[0.0, 3.0, 2.0]]
    (pruned * torch.tensor([10.0, 20.0, 30.0])).sum().backward()
    assert weights.grad.tolist() == [[10.0, 20.0, 30.0]]


def test_bottleneck_sends_no_gradient_into_the_embeddings(generator: torch.Generator) -> None:
    logits, table = random(generator, 2, 5), random(generator, 5, 3)
    bottleneck = lexicon_bottleneck(logits, table)
    torch.testing.assert_close(bottleneck, logits.softmax(1) @ table)
    bottleneck.sum().backward()
    assert table.grad is None
    assert logits.grad.any()


def test_gradients_equal_finite_differences(generator: torch.Generator) -> None:
    images, texts, table = random(generator, 4, 6), random(generator, 4, 6), torch.randn(6, 3, dtype=torch.float64)
    same = torch.tensor([0, 0, 1, 2])[:, None] == torch.tensor([0, 0, 1, 2])[None]
    assert gradcheck(lambda i, t: pair_contrast(unit_vectors(i), unit_vectors(t), 0.5, same), (images, texts))
    assert gradcheck(lambda v: flops(unit_vectors(v)), images)
    assert gradcheck(lambda v: flops(v, "local"), images)
    assert gradcheck(lambda v: lexicon_bottleneck(v, table), images)
    hidden, weight, bias = random(generator, 2, 3, 4), random(generator, 6, 4), random(generator, 6)
    labels = torch.tensor([[1, IGNORED, 5], [IGNORED, IGNORED, 0]])
    assert gradcheck(lambda h, w, b: masked_tokens(h, labels, w, b), (hidden, weight, bias))


@pytest.mark.parametrize("rows", [DenseRows(5, 6, torch.float64), SparseRows(5, 6, 3).double()])
def test_queue_gradients_equal_finite_differences(
    rows: KeyRows, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexlip_training.objectives.momentum.CHUNK", 2)
    rows.write(torch.arange(5), rows.pack(unit_vectors(random(generator, 5, 6)).detach()))
    keys = unit_vectors(random(generator, 4, 6)).detach()
    allowed = torch.rand(4, 5, generator=generator) > 0.3

    def loss(queries: Tensor) -> Tensor:
        unit = unit_vectors(queries)
        return queue_contrast(unit, keys, rows.scores(unit), allowed, 0.5)

    queries = random(generator, 4, 6)
    assert gradcheck(loss, queries)
    torch.testing.assert_close(rows.scores(queries), queries @ rows.dense(0, 5, torch.float64).T)
