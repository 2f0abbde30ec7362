"""Objectives against their formulas written out, and the gradients that make them work."""

from __future__ import annotations

import math

import pytest
import torch

from lexlip_training.objectives.recipe_losses import (
    divergence,
    flops,
    info_nce,
    inverse_document_frequency,
    lookup_queries,
    matched,
    word_targets,
)


def test_info_nce_is_the_two_cross_entropies_of_the_in_batch_pairs() -> None:
    torch.manual_seed(0)
    images, texts = torch.rand(4, 11), torch.rand(4, 11)
    scale = torch.tensor(20.0)
    cosine = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2) * scale
    target = torch.arange(4)
    expected = 0.5 * (
        torch.nn.functional.cross_entropy(cosine, target) + torch.nn.functional.cross_entropy(cosine.T, target)
    )
    torch.testing.assert_close(info_nce(images, texts, scale, target), expected)


def test_info_nce_shares_the_target_among_an_images_texts() -> None:
    images = torch.eye(2)
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    loss = info_nce(images, texts, torch.tensor(100.0), torch.arange(2))
    assert float(loss) == pytest.approx(0.5 * math.log(2), abs=1e-5)  # two equal positives: ln 2 one way, 0 the other


def test_info_nce_does_not_push_apart_two_rows_of_one_image() -> None:
    images, texts = torch.rand(2, 5), torch.rand(2, 5)
    same = info_nce(images, texts, torch.tensor(5.0), torch.tensor([7, 7]))
    swapped = info_nce(images, texts[[1, 0]], torch.tensor(5.0), torch.tensor([7, 7]))
    torch.testing.assert_close(same, swapped)


def test_divergence_is_zero_at_the_target_and_positive_elsewhere() -> None:
    target = torch.tensor([[0.5, 0.25, 0.25, 0.0]])
    at_target = torch.tensor([[0.5, 0.25, 0.25, 1e-20]]).log()
    assert float(divergence(at_target, target)) == pytest.approx(0.0, abs=1e-5)
    assert float(divergence(torch.zeros(1, 4), target)) > 0.1


def test_an_empty_distribution_asks_for_nothing() -> None:
    target = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    alone = divergence(torch.zeros(1, 3), target[1:])
    torch.testing.assert_close(divergence(torch.zeros(2, 3), target), alone / 2)


def test_matched_is_least_where_each_finds_its_own() -> None:
    units, scale = torch.eye(3), torch.tensor(20.0)
    assert float(matched(units, units, scale)) == pytest.approx(0, abs=1e-4)
    assert float(matched(units, units.roll(1, 0), scale)) == pytest.approx(20, abs=1e-4)


def test_a_lookup_query_counts_a_term_once() -> None:
    weights = torch.tensor([0.0, 0.5, 2.0, 3.0])
    queries = lookup_queries(torch.tensor([[1, 3, 3, 0], [2, 0, 0, 0]]), weights)
    assert queries.tolist() == [[0, 0.5, 0, 3], [0, 0, 2, 0]]


def test_flops_falls_when_one_term_is_spread_over_many() -> None:
    one_term = torch.zeros(4, 8)
    one_term[:, 0] = 1.0
    spread = torch.eye(8)[:4]
    assert float(flops(one_term)) == pytest.approx(1.0)
    assert float(flops(spread)) == pytest.approx(4 * (1 / 4) ** 2)


def test_idf_and_word_targets() -> None:
    captions = [[[2, 5, 6, 3], [2, 5, 5, 3]], [[2, 7, 3]]]
    idf = inverse_document_frequency([ids for image in captions for ids in image], 9, (2, 3))
    assert idf[5] == pytest.approx(math.log(3 / 2))
    assert idf[7] == pytest.approx(math.log(3))
    assert idf[8] == pytest.approx(math.log(3))  # in no caption: as if in one
    assert idf[[2, 3]].tolist() == [0, 0]
    targets = word_targets(captions, idf)
    torch.testing.assert_close(targets.sum(1), torch.ones(2))
    assert targets[0, 5] / targets[0, 6] == pytest.approx(2 * math.log(3 / 2) / math.log(3), rel=1e-5)
    assert targets[1].argmax() == 7
