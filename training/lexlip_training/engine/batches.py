"""The micro-batches of a run, in the order of its optimiser steps: the same ones whether it was interrupted or not."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from lexlip_kernels.errors import InputError
from lexlip_training.data import GlobalBatchSampler, PairDataset
from lexlip_training.data.batch import PairBatch
from lexlip_training.data.caption_groups import CaptionGroups
from lexlip_training.engine.stem_memory import StemMemory

__all__ = ["Batches", "GroupBatches", "SampledBatches"]


class Batches(ABC):
    """What the training loop asks for its data."""

    @abstractmethod
    def first_step(self, epoch: int) -> int:
        """Optimiser steps before an epoch."""

    @abstractmethod
    def epoch(self, epoch: int, first_step: int) -> Iterator[list[PairBatch]]:
        """The micro-batches of each optimiser step of an epoch, from `first_step` of it on."""

    def planned_steps(self, epochs: int) -> int:
        """What the learning rate takes for the length of so many epochs."""
        return self.first_step(epochs)

    def epoch_of(self, step: int) -> int:
        """The epoch that an optimiser step belongs to, counted from zero."""
        epoch = step // self.planned_steps(1)
        while self.first_step(epoch + 1) <= step:
            epoch += 1
        return epoch

    def seed_step(self, step: int) -> None:  # noqa: B027  (nothing to do where draws follow one another)
        """Before an optimiser step: start generators anew, where the step is to depend on its number alone."""

    def generators(self) -> dict[str, Any] | None:
        """Generators' states to go on from, between epochs; None where every step starts them anew."""
        return None

    def restore(self, generators: dict[str, Any]) -> None:  # noqa: B027  (the same)
        """Go on from `generators`."""


class SampledBatches(Batches):
    """Pairs by number, each with draws of its own.

    Args:
        pairs: training pairs.
        sampler: of this process.
        accumulation: micro-batches of an optimiser step; those that fill none are left out of an epoch.
        workers: processes that decode images.
        seed: of the run.
        rank: of this process.

    Raises:
        InputError: there are fewer pairs than an optimiser step takes.
    """

    def __init__(
        self, pairs: PairDataset, sampler: GlobalBatchSampler, accumulation: int, workers: int, seed: int, rank: int
    ) -> None:
        self.pairs, self.sampler, self.accumulation, self.workers = pairs, sampler, accumulation, workers
        self.seed, self.rank = seed, rank
        self.steps = len(sampler) // accumulation
        if self.steps == 0:
            raise InputError(f"{len(pairs)} training pairs do not fill one batch; lower optimiser.batch_size")

    def first_step(self, epoch: int) -> int:
        """All epochs are as long."""
        return epoch * self.steps

    def epoch(self, epoch: int, first_step: int) -> Iterator[list[PairBatch]]:
        """See `Batches`."""
        self.pairs.set_epoch(epoch)
        self.sampler.set_position(epoch, first_step * self.accumulation)
        loader = DataLoader(
            self.pairs, batch_sampler=self.sampler, num_workers=self.workers, collate_fn=self.pairs.collate
        )
        stream = iter(loader)
        for _ in range(first_step, self.steps):
            yield [next(stream) for _ in range(self.accumulation)]

    def seed_step(self, step: int) -> None:
        """So that no generator's state has to survive a kill, and evaluations in between change nothing."""
        torch.manual_seed((self.seed * 1_000_003 + step) * 65_537 + self.rank)


class GroupBatches(Batches):
    """Batches of `CaptionGroups`, whose draws follow one another: a run is resumed between epochs only.

    While the stem is frozen, the first epochs make the crops of `data.views`, in a worker, and all later ones walk
    through what the stem made of them. Every image has to pass then, and an epoch's last batch may be short.

    Args:
        groups: training images and captions.
        size: images of a batch.
        stem: remembers crops; None where nothing is frozen.
        views: crops of each image.
        unfreeze: the epoch from which the stem trains, too, on new crops; None never.

    Raises:
        InputError: there are fewer images than a batch takes.
    """

    def __init__(
        self, groups: CaptionGroups, size: int, stem: StemMemory | None, views: int, unfreeze: int | None
    ) -> None:
        if len(groups) < size:
            raise InputError(f"{len(groups)} training images for batches of {size}; lower optimiser.batch_size")
        self.groups, self.size, self.stem, self.views, self.unfreeze = groups, size, stem, views, unfreeze

    def _frozen(self, epoch: int) -> bool:
        return self.stem is not None and (self.unfreeze is None or epoch < self.unfreeze)

    def first_step(self, epoch: int) -> int:
        """Unfrozen epochs leave a short last batch out."""
        frozen = sum(self._frozen(number) for number in range(epoch))
        return frozen * self.planned_steps(1) + (epoch - frozen) * (len(self.groups) // self.size)

    def planned_steps(self, epochs: int) -> int:
        """As if every epoch had its short last batch."""
        return epochs * -(-len(self.groups) // self.size)

    def epoch(self, epoch: int, first_step: int) -> Iterator[list[PairBatch]]:
        """See `Batches`."""
        assert first_step == 0, "checkpoints lie between epochs"
        frozen, view = self._frozen(epoch), epoch % self.views
        known = frozen and epoch >= self.views and self.stem is not None and self.stem.knows(view)
        self.groups.texts_alone = known
        loader = DataLoader(
            self.groups,
            batch_size=self.size,
            shuffle=True,
            drop_last=not frozen,
            num_workers=0 if known else 1,
            collate_fn=CaptionGroups.collate,
        )
        for batch in loader:
            pixels = self._through_stem(view, batch) if frozen else batch.pixels
            yield [replace(batch, pixels=pixels.contiguous(memory_format=torch.channels_last))]

    def _through_stem(self, view: int, batch: PairBatch) -> torch.Tensor:
        assert self.stem is not None
        rows = zip(batch.image_ids.tolist(), batch.pixels, strict=True)
        return torch.stack([self.stem(view, image, lambda crop=pixels: crop) for image, pixels in rows])  # type: ignore[misc]

    def generators(self) -> dict[str, Any]:
        """Those of torch and Python."""
        return {"torch": torch.get_rng_state(), "python": random.getstate()}

    def restore(self, generators: dict[str, Any]) -> None:
        """Go on from them."""
        torch.set_rng_state(generators["torch"])
        if "python" in generators:
            version, numbers, gauss = generators["python"]
            random.setstate((version, tuple(numbers), gauss))
