"""Random draws that belong to a sample, not to a process: the same whatever worker, rank or resumed run makes them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch

__all__ = ["Purpose", "draws", "libraries_seeded"]


class Purpose(IntEnum):
    """What is drawn; each purpose has a stream of its own, so that an option of one never moves another."""

    AUGMENTATION = 0
    MASKS = 1
    CAPTION = 2
    SUBSTITUTE = 3


def draws(seed: int, epoch: int, sample: int, purpose: Purpose) -> np.random.Generator:
    """The generator of one sample in one epoch."""
    return np.random.default_rng((seed, epoch, sample, purpose))


@contextmanager
def libraries_seeded(generator: np.random.Generator) -> Iterator[None]:
    """Let code that draws from the global generators (timm's does) draw from this one; they are put back afterwards."""
    seed = int(generator.integers(2**32))
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (what timm uses)
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
