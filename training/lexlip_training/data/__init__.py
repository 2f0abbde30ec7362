"""Training data: pairs of an image and a caption from several layouts, augmented, masked and batched reproducibly.

Everything random about a sample follows from (seed, epoch, sample id): workers, ranks and resumed runs change nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexlip_training.data.batch import GlobalBatchSampler
    from lexlip_training.data.config import DataConfig, SourceConfig
    from lexlip_training.data.pair_dataset import PairDataset, open_pairs
    from lexlip_training.data.reading import PairTable, read_pairs

__all__ = ["DataConfig", "GlobalBatchSampler", "PairDataset", "PairTable", "SourceConfig", "open_pairs", "read_pairs"]

_HOMES = {
    "DataConfig": "config",
    "GlobalBatchSampler": "batch",
    "PairDataset": "pair_dataset",
    "PairTable": "reading",
    "SourceConfig": "config",
    "open_pairs": "pair_dataset",
    "read_pairs": "reading",
}


def __getattr__(name: str) -> object:
    # Late, so that a command can read a configuration without torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
