"""Momentum contrast: what moves when, the order of the queue, and what a sparse queue costs and saves."""

from __future__ import annotations

import pytest
import torch
from tiny_pairs import VOCAB, pair_batch, part_of
from torch import Tensor

from lexlip_training import LexLIP
from lexlip_training.data.batch import PairBatch
from lexlip_training.objectives import ObjectiveConfig, build_objective
from lexlip_training.objectives.momentum import MomentumContrast, PairQueue, queue_bytes


def settings(**changes: object) -> ObjectiveConfig:
    return ObjectiveConfig.model_validate({"kind": "momentum_contrast", "queue_size": 5, "storage": "dense"} | changes)


def objective(model: LexLIP, **changes: object) -> MomentumContrast:
    built = build_objective(settings(**changes), model).double().train()
    assert isinstance(built, MomentumContrast)
    return built


def push(queue: PairQueue, *numbers: int) -> None:
    """Keys whose first weight is the number; image ids are the same numbers."""
    keys = torch.zeros(len(numbers), queue.images.width)
    keys[:, 0] = torch.tensor(numbers)
    queue.push(queue.images.pack(keys), queue.texts.pack(-keys), torch.tensor(numbers))


def contents(queue: PairQueue) -> list[int]:
    images, texts = (rows.dense(0, queue.size, torch.float32)[:, 0] for rows in (queue.images, queue.texts))
    torch.testing.assert_close(images, -texts)
    return [int(number) for number in images]


def test_the_queue_is_a_ring_that_replaces_the_oldest() -> None:
    queue = PairQueue(settings(), 3)
    push(queue, 1, 2, 3)
    assert contents(queue) == [1, 2, 3, 0, 0]
    assert (int(queue.position), int(queue.filled)) == (3, 3)
    push(queue, 4, 5, 6)
    assert contents(queue) == [6, 2, 3, 4, 5]
    assert queue.image_ids.tolist() == [6, 2, 3, 4, 5]
    assert (int(queue.position), int(queue.filled)) == (1, 5)
    push(queue, *range(10, 22))
    assert sorted(contents(queue)) == [17, 18, 19, 20, 21]
    push(queue, 30)
    assert 17 not in contents(queue)


def test_the_official_overflow_drops_the_tail_and_starts_again() -> None:
    queue = PairQueue(settings(queue_overflow="drop"), 3)
    push(queue, 1, 2, 3)
    push(queue, 4, 5, 6)
    assert contents(queue) == [1, 2, 3, 4, 5]
    assert (int(queue.position), int(queue.filled)) == (0, 5)
    push(queue, 7)
    assert contents(queue) == [7, 2, 3, 4, 5]
    push(queue, 8, 9, 10, 11)
    assert contents(queue) == [7, 8, 9, 10, 11]
    assert int(queue.position) == 0


def test_negatives_are_stored_keys_of_other_images() -> None:
    queue = PairQueue(settings(), 3)
    push(queue, 4, 7, 4)
    ids = torch.tensor([4, 9])
    assert queue.allowed(ids, same_image_negatives=False).tolist() == [
        [False, True, False, False, False],
        [True, True, True, False, False],
    ]
    assert queue.allowed(ids, same_image_negatives=True).tolist() == [[True, True, True, False, False]] * 2


def test_a_gaussian_start_is_full_of_unit_vectors_and_the_same_everywhere() -> None:
    torch.manual_seed(1)
    first = PairQueue(settings(queue_start="gaussian"), 8)
    torch.manual_seed(2)
    second = PairQueue(settings(queue_start="gaussian"), 8)
    rows = first.images.dense(0, 5, torch.float32)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5))
    assert rows.min() < 0
    torch.testing.assert_close(rows, second.images.dense(0, 5, torch.float32), rtol=0, atol=0)
    assert first.allowed(torch.tensor([0]), False).all()


def test_key_encoders_start_as_copies_and_follow_by_the_momentum(lexicon_model: LexLIP) -> None:
    contrast = objective(lexicon_model, momentum=0.75)
    key = contrast.key_model.image_head.bias
    assert key is not lexicon_model.image_head.bias
    assert all(not parameter.requires_grad for parameter in contrast.key_model.parameters())
    with torch.no_grad():
        lexicon_model.image_head.bias.fill_(8.0)
    for expected in (2.0, 3.5, 4.625):  # 0.75 k + 0.25 * 8, from k = 0
        contrast.after_step()
        torch.testing.assert_close(key, torch.full_like(key, expected))


def test_keys_are_of_before_the_step_and_enter_in_order(lexicon_model: LexLIP, batch: PairBatch) -> None:
    contrast = objective(lexicon_model, queue_size=9, momentum=0.0)
    before = contrast.encode_keys(batch)
    for part in (part_of(batch, 0, 2), part_of(batch, 1, 2)):  # two micro-batches of one step
        contrast(part)
    assert int(contrast.queue.filled) == 0
    with torch.no_grad():
        lexicon_model.image_head.weight.normal_()
        lexicon_model.text_head.weight.normal_()
    contrast.after_step()
    assert contrast.queue.image_ids.tolist()[:4] == batch.image_ids.tolist()
    for rows, keys in zip((contrast.queue.images, contrast.queue.texts), before, strict=True):
        torch.testing.assert_close(rows.dense(0, 4, torch.float64), keys)
    after = contrast.encode_keys(batch)
    assert not torch.allclose(after[0], before[0])


def test_evaluation_leaves_queue_and_keys_alone(lexicon_model: LexLIP, batch: PairBatch) -> None:
    contrast = objective(lexicon_model).eval()
    contrast(batch)
    contrast.after_step()
    assert int(contrast.queue.filled) == 0


def test_an_empty_queue_has_no_negatives(lexicon_model: LexLIP, batch: PairBatch) -> None:
    figures = objective(lexicon_model)(batch)
    assert float(figures["contrast"]) == 0
    assert float(figures["queue_mass"]) == pytest.approx(1)


def test_state_resumes_a_run(lexicon_model: LexLIP, batch: PairBatch) -> None:
    first, second = objective(lexicon_model, storage="sparse"), None
    first(batch)
    first.after_step()
    second = objective(LexLIP(lexicon_model.config).double(), storage="sparse")
    second.load_state_dict(first.state_dict())
    again = pair_batch(4, seed=9)
    for name, figure in first(again).items():
        torch.testing.assert_close(second(again)[name], figure, rtol=0, atol=0)


def _losses(model: LexLIP, top_k: int | None, storage: str, keep: int) -> tuple[Tensor, Tensor]:
    """Losses of five steps on one model that stands still, and the mass that packing left."""
    contrast = objective(model, queue_size=12, storage=storage, queue_top_k=keep, joint_top_k=top_k)
    contrast.queue.float()
    if storage != "dense":
        for rows in (contrast.queue.images, contrast.queue.texts):
            rows.values = rows.values.half()
    figures = []
    for seed in range(5):
        figures.append(contrast(pair_batch(4, seed)))
        contrast.after_step()
    return torch.stack([f["contrast"] for f in figures]), torch.stack([f["queue_mass"] for f in figures])


@pytest.mark.parametrize(("storage", "keep"), [("half", 1), ("sparse", VOCAB), ("sparse", 10)])
def test_a_compact_queue_gives_the_loss_of_a_dense_one(lexicon_model: LexLIP, storage: str, keep: int) -> None:
    top_k = 10 if keep == 10 else None  # what the loss prunes, the queue need not hold
    dense, _ = _losses(lexicon_model, top_k, "dense", VOCAB)
    compact, mass = _losses(lexicon_model, top_k, storage, keep)
    assert dense[1:].min() > 0.1
    torch.testing.assert_close(compact, dense, rtol=0, atol=2e-3)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=1e-3)


def test_too_few_terms_show_in_the_mass(lexicon_model: LexLIP) -> None:
    _, mass = _losses(lexicon_model, None, "sparse", 3)
    assert mass.max() < 0.9


def test_memory_of_the_queue() -> None:
    paper = ObjectiveConfig(kind="momentum_contrast", storage="dense")
    assert queue_bytes(paper, 30522) == 11520 * (2 * 30522 * 4 + 8)  # 2.81 GB
    assert queue_bytes(paper.model_copy(update={"storage": "half"}), 30522) == 11520 * (2 * 30522 * 2 + 8)
    sparse = ObjectiveConfig(kind="momentum_contrast", queue_top_k=256)
    assert queue_bytes(sparse, 30522) == 11520 * (2 * 256 * 6 + 8)  # 35 MB
    assert queue_bytes(sparse, 768, dense_model=True) == 11520 * (2 * 768 * 4 + 8)
    for storage in ("sparse", "half", "dense"):
        config = settings(storage=storage, queue_top_k=4)
        buffers = PairQueue(config, VOCAB).buffers()
        held = sum(buffer.nbytes for buffer in buffers if buffer.ndim)
        assert held == queue_bytes(config, VOCAB)


def test_a_positive_is_pruned_as_the_negatives_are(lexicon_model: LexLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that kept all its terms would win for that alone, and nothing be learnt."""
    built = objective(lexicon_model, storage="sparse", queue_top_k=2)
    seen: list[Tensor] = []

    def contrast(images: Tensor, texts: Tensor, image_keys: Tensor, text_keys: Tensor, ids: Tensor) -> Tensor:
        seen.extend([image_keys, text_keys])
        return (images * image_keys).sum() + (texts * text_keys).sum()

    monkeypatch.setattr(built, "_contrast", contrast)
    built(pair_batch(rows=3, seed=1))
    for keys in seen:
        assert (keys.count_nonzero(dim=1) <= 2).all()
