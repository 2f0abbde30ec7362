"""Which samples a rank takes at a step: one global permutation an epoch, cut into global batches, cut into ranks.

Nothing is drawn here but the permutation, so that N ranks of B samples see what one rank of N*B sees, and a run
resumed at (epoch, step) sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from lexlip_kernels.errors import InputError

__all__ = ["GlobalBatchSampler"]


class GlobalBatchSampler(Sampler[list[int]]):
    """A batch sampler; the incomplete last global batch of an epoch is dropped.

    Args:
        length: samples of the training set.
        batch_size_per_rank: B.
        rank: of this process, from 0.
        world: number of ranks.
        seed: of the permutations.

    Raises:
        InputError: there are fewer samples than one global batch takes, or a number is out of range.
    """

    def __init__(self, length: int, batch_size_per_rank: int, rank: int = 0, world: int = 1, seed: int = 0) -> None:
        if batch_size_per_rank < 1 or not 0 <= rank < world:
            raise InputError(
                f"batch size {batch_size_per_rank}, rank {rank} of {world}; expected a size above 0, 0 <= rank < ranks"
            )
        if length < batch_size_per_rank * world:
            raise InputError(
                f"{length} samples, fewer than one batch of {batch_size_per_rank} x {world} ranks; "
                "make the batch smaller or give more data"
            )
        self._length, self._size, self._rank, self._world, self._seed = length, batch_size_per_rank, rank, world, seed
        self._epoch = self._step = 0

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return self._length // (self._size * self._world)

    def set_position(self, epoch: int, step: int = 0) -> None:
        """Let the next iteration begin at this step of this epoch.

        Raises:
            InputError: an epoch has no such step. The step after the last is allowed: nothing is left of the epoch.
        """
        if epoch < 0 or not 0 <= step <= len(self):
            raise InputError(f"epoch {epoch}, step {step}; expected steps from 0 to {len(self)}")
        self._epoch, self._step = epoch, step

    def __iter__(self) -> Iterator[list[int]]:
        """The rest of the epoch, this rank's part of each global batch."""
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._length)
        for step in range(self._step, len(self)):
            start = (step * self._world + self._rank) * self._size
            yield order[start : start + self._size].tolist()
