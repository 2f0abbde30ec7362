"""Micro-batches of a run from any optimiser step on: the same ones whether it was interrupted or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch.utils.data import DataLoader

from lexlip_kernels.errors import InputError
from lexlip_training.data import GlobalBatchSampler, PairDataset
from lexlip_training.pair_batch import PairBatch

__all__ = ["Batches"]


@dataclass(slots=True)
class Batches:
    """Micro-batches in the order of optimiser steps.

    Attributes:
        pairs: training pairs.
        sampler: of this process.
        accumulation: micro-batches of an optimiser step; those that fill none are left out of an epoch.
        workers: processes that decode images.
    """

    pairs: PairDataset
    sampler: GlobalBatchSampler
    accumulation: int
    workers: int

    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch.

        Raises:
            InputError: there are fewer pairs than an optimiser step takes.
        """
        self.sampler.set_position(0, 0)
        steps = len(self.sampler) // self.accumulation
        if steps == 0:
            raise InputError(f"{len(self.pairs)} training pairs do not fill one batch; lower optimiser.batch_size")
        return steps

    def epoch(self, epoch: int, first_step: int) -> Iterator[list[PairBatch]]:
        """The micro-batches of each optimiser step of an epoch, from `first_step` of it on."""
        steps = self.steps_per_epoch()
        self.pairs.set_epoch(epoch)
        self.sampler.set_position(epoch, first_step * self.accumulation)
        loader = DataLoader(
            self.pairs,
            batch_sampler=self.sampler,
            num_workers=self.workers,
            collate_fn=self.pairs.collate,
        )
        stream = iter(loader)
        for _ in range(first_step, steps):
            yield [next(stream) for _ in range(self.accumulation)]
