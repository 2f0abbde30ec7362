"""Ranks share one permutation; a position is all that a resume needs."""

from __future__ import annotations

import pytest

from lexlip_kernels.errors import InputError
from lexlip_training.data import GlobalBatchSampler


def test_ranks_cut_what_one_rank_sees() -> None:
    alone = list(GlobalBatchSampler(50, 12, seed=3))
    ranks = [list(GlobalBatchSampler(50, 4, rank, 3, seed=3)) for rank in range(3)]
    assert alone == [[i for rank in ranks for i in rank[step]] for step in range(4)]
    assert len(alone) == len(GlobalBatchSampler(50, 12)) == 4
    assert len({i for batch in alone for i in batch}) == 48


def test_a_position_goes_on_exactly() -> None:
    sampler = GlobalBatchSampler(20, 3, seed=1)
    sampler.set_position(5, 0)
    whole = list(sampler)
    sampler.set_position(5, 4)
    assert list(sampler) == whole[4:]
    sampler.set_position(5, 6)
    assert list(sampler) == []
    sampler.set_position(6, 0)
    assert list(sampler) != whole
    assert list(GlobalBatchSampler(20, 3, seed=2)) != list(GlobalBatchSampler(20, 3, seed=1))


def test_refusals() -> None:
    for arguments in ((10, 0), (10, 2, 2, 2), (10, 2, -1, 2)):
        with pytest.raises(InputError, match="expected a size above 0"):
            GlobalBatchSampler(*arguments)
    with pytest.raises(InputError, match="10 samples, fewer than one batch of 6 x 2 ranks"):
        GlobalBatchSampler(10, 6, 0, 2)
    for position in ((-1, 0), (0, 6), (0, -1)):
        with pytest.raises(InputError, match="expected steps from 0 to 5"):
            GlobalBatchSampler(10, 2).set_position(*position)
