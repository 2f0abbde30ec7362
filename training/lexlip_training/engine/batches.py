"""Micro-batches of a run from any optimiser step on: the same ones whether it was interrupted or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

from torch.utils.data import DataLoader, Dataset, Sampler

from lexlip_kernels.errors import InputError
from lexlip_training.pair_batch import PairBatch

__all__ = ["Batches", "BatchSampler", "Pairs"]


class Pairs(Protocol):
    """A map-style set of pairs whose randomness depends on seed, epoch and sample alone."""

    def __len__(self) -> int: ...

    def set_epoch(self, epoch: int) -> None:
        """Draw crops and masks anew."""

    @property
    def collate(self) -> object:
        """Items to a PairBatch."""


class BatchSampler(Protocol):
    """One process's slices of the global batches, from a position on."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[int]]: ...

    def set_position(self, epoch: int, step: int) -> None:
        """Go to a micro-batch of an epoch."""


@dataclass(slots=True)
class Batches:
    """Micro-batches in the order of optimiser steps.

    Attributes:
        pairs: training pairs.
        sampler: of this process.
        accumulation: micro-batches of an optimiser step; those that fill none are left out of an epoch.
        workers: processes that decode images.
    """

    pairs: Pairs
    sampler: BatchSampler
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
            cast("Dataset[object]", self.pairs),
            batch_sampler=cast("Sampler[list[int]]", self.sampler),
            num_workers=self.workers,
            collate_fn=self.pairs.collate,  # type: ignore[arg-type]
        )
        stream = iter(loader)
        for _ in range(first_step, steps):
            yield [next(stream) for _ in range(self.accumulation)]
