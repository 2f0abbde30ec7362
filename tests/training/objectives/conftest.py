"""A double-precision model of a few thousand weights, with a CLS token and no dropout, and batches for it."""

from __future__ import annotations

import pytest
import torch
from tiny_pairs import pair_batch, tiny_config

from lexlip_training import LexLIP
from lexlip_training.data.batch import PairBatch
from lexlip_training.model import DenseConfig, DenseModel


@pytest.fixture
def lexicon_model() -> LexLIP:
    torch.manual_seed(0)
    return LexLIP(tiny_config()).double()


@pytest.fixture
def dense_model() -> DenseModel:
    torch.manual_seed(0)
    return DenseModel(DenseConfig(towers=tiny_config())).double()


@pytest.fixture
def batch() -> PairBatch:
    return pair_batch(rows=4, seed=1)
