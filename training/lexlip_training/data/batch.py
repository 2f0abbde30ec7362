"""Pairs as a training step reads them, and which of them a process takes at a step.

Nothing is drawn here but one permutation an epoch, cut into global batches and those into ranks, so that N ranks of B
samples see what one rank of N*B sees, and a run resumed at (epoch, step) sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

from lexlip_kernels.errors import InputError

#: Label of a position that is not predicted, as torch's cross entropy expects it.
IGNORED = -100


def padded(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids of texts, padded with 0 to the longest, and their mask, 1 on real tokens; both (B, L) int64."""
    input_ids = pad_sequence([torch.tensor(ids) for ids in texts], batch_first=True)
    lengths = torch.tensor([len(ids) for ids in texts])
    return input_ids, (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()


@dataclass(frozen=True, slots=True)
class MaskedText:
    """A text with some tokens hidden.

    Attributes:
        input_ids: (B, L), masked.
        labels: (B, L), the hidden token, `IGNORED` elsewhere.
    """

    input_ids: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> MaskedText:
        """The same on another device."""
        return MaskedText(self.input_ids.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B pairs.

    Attributes:
        pixels: (B, 3, S, S), augmented and normalised.
        input_ids: (B, L), padded with 0.
        attention_mask: (B, L), 1 on real tokens.
        image_ids: (B,), int64; equal where two pairs show the same image (they are no negatives of each other).
        sample_ids: (B,), int64, rows of the training set.
        encoder_masked: for self-supervised and bottleneck objectives, the lighter masking; None where unused.
        decoder_masked: for the bottleneck decoder, the heavier masking; None where unused.
    """

    pixels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    image_ids: Tensor
    sample_ids: Tensor
    encoder_masked: MaskedText | None = None
    decoder_masked: MaskedText | None = None

    def to(self, device: torch.device) -> PairBatch:
        """The same on another device."""
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: part if part is None else part.to(device) for name, part in parts.items()}
        return PairBatch(**moved)


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
