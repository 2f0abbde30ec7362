"""The micro-batches of a run, in the order of its optimiser steps: the same ones whether it was interrupted or not.

And what the frozen lower stages of a convolutional backbone make of each crop, computed once and remembered. On a CPU
those stages cost several times what the rest of a training step costs. While they are frozen, their output depends on
the crop alone, so a run that walks through a few crops of each image (`data.views`) needs them once for each. In a
file, the memory serves all runs on the same crops, at once if need be. Development images always go through the whole
backbone.
"""

from __future__ import annotations

import hashlib
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lexlip_kernels.errors import InputError, OutputError
from lexlip_training.data import GlobalBatchSampler, PairDataset
from lexlip_training.data.batch import PairBatch
from lexlip_training.data.caption_groups import CaptionGroups
from lexlip_training.towers import ImageTower


class StemMemory:
    """Called with a crop's place and a way to make it, gives the stem's output (C, h, w), of two bytes a number.

    Every crop goes through alone, so that no batch, order or restart changes a bit. The file is sparse; a crop is
    marked as known after its numbers are written, which survives a kill of the process.

    Args:
        tower: its stem is copied, as it is now; the caller keeps it frozen.
        views: crops of each sample.
        samples: of the training set.
        folder: for a shared file; None keeps the memory to this process.
        crops: what the crops depend on; with the stem's weights, names the file.
        dtype: what is kept; in bfloat16 the stem is computed in it, too.
    """

    def __init__(
        self,
        tower: ImageTower,
        views: int,
        samples: int,
        folder: Path | None,
        crops: str,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        self._stem = deepcopy(tower.stem()).eval()
        self._dtype = dtype
        size = tower.config.image_size
        shape = tuple(self._features(torch.zeros(3, size, size)).shape)
        record = np.dtype([("known", "?"), ("features", "<f2", shape)])
        self._rows: npt.NDArray[np.void] = (
            np.zeros((views, samples), record)
            if folder is None
            else _shared(folder / f"stem-{_digest(self._stem, crops)}.npy", record, (views, samples))
        )

    def __call__(self, view: int, sample: int, pixels: Callable[[], Tensor]) -> Tensor:
        """The output for one crop; `pixels` makes (3, S, S) where it is not known yet."""
        row = self._rows[view, sample]
        if not row["known"]:
            row["features"] = self._features(pixels()).contiguous().view(torch.float16).numpy()
            row["known"] = True
        return torch.from_numpy(row["features"]).view(self._dtype).float()

    def knows(self, view: int) -> bool:
        """Whether the output for every sample's crop is known."""
        return bool(self._rows[view]["known"].all())

    @torch.no_grad()
    def _features(self, pixels: Tensor) -> Tensor:
        own = next(self._stem.parameters()).dtype
        batch = pixels.to(own).unsqueeze(0).contiguous(memory_format=torch.channels_last)
        with torch.autocast(batch.device.type, self._dtype, enabled=self._dtype == torch.bfloat16):
            features: Tensor = self._stem(batch)[0]
        return features.to(self._dtype)


def _digest(stem: nn.Module, crops: str) -> str:
    digest = hashlib.sha256(crops.encode())
    for name, value in stem.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _shared(file: Path, record: np.dtype[np.void], shape: tuple[int, int]) -> npt.NDArray[np.void]:
    """Map the file, made first if it is missing; two runs that make it at once end up with the same one."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
            np.lib.format.open_memmap(partial, "w+", record, shape).flush()
            with suppress(FileExistsError):
                os.link(partial, file)
            partial.unlink()
        rows: npt.NDArray[np.void] = np.lib.format.open_memmap(file, "r+")
    except (OSError, ValueError) as error:
        raise OutputError(f"{file}: cannot hold the stem's output ({error}); remove it and repeat") from None
    return rows


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
