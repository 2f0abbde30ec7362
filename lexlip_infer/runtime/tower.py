"""A tower: backbone, then lexicon head, from model inputs to sparse vectors; and how many rows go through it at once.

Which batch fits a GPU depends on the model, the GPU and who else uses it, so it is found by trying: one that is full
gets half as many rows at a time, and goes on. Only an allocation that failed is answered so; every other error stays an
error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import BackendUnavailable
from lexlip_infer.runtime.choice import PathChoice
from lexlip_infer.vectors.sparse_batch import SparseBatch

Inputs = Mapping[str, npt.NDArray[Any]]
Backbone = Callable[[Inputs], list[Any]]

#: ids (B, K) int64, -1 padded, and weights (B, K) float32, 0 padded, by rank.
Ranked = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]

INPUTS = {"image": ("pixel_values",), "text": ("input_ids", "attention_mask")}

_logger = logging.getLogger(__name__)

#: As ONNX Runtime's arena, the CUDA runtime, cuBLAS and torch say it; they share no class of error for it.
_MESSAGE = re.compile(
    r"Failed to allocate memory|out of memory|ALLOC_FAILED|Available memory of \d+ is smaller than requested",
    re.IGNORECASE,
)

Result = TypeVar("Result")


class Head(Protocol):
    """Takes what the backbone beside it gives: an array, or something that stays on the device."""

    def __call__(
        self,
        hidden: Any,
        mask: npt.NDArray[np.int64] | None,
        top_k: int,
        input_ids: npt.NDArray[np.int64] | None = None,
        /,
    ) -> Ranked:
        """The `top_k` heaviest terms of each row; `mask` (B, L) is 0 on padding, absent where there is none.

        `input_ids` (B, L) are there where a text's own terms are kept beside them.
        """
        ...


class DeviceOutOfMemory(BackendUnavailable):
    """An allocation failed; raised to the caller only where a single row does not fit."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether this error of ONNX Runtime or torch says that an allocation failed."""
    return isinstance(error, MemoryError) or _MESSAGE.search(str(error)) is not None


class RowsAtOnce:
    """Runs a function on slices of a batch that are small enough.

    Args:
        limit: rows that are known to be the most; None where nothing is known.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._reported = False

    def run(self, rows: int, function: Callable[[slice], Result]) -> Iterator[Result]:
        """Results of consecutive slices of `range(rows)`, in order.

        Raises:
            DeviceOutOfMemory: a single row does not fit.
        """
        start = 0
        while start < rows:
            taken = min(rows - start, self.limit or rows)
            try:
                result = function(slice(start, start + taken))
            except DeviceOutOfMemory:
                if taken == 1:
                    raise
                self._halve(taken)
                continue
            yield result
            start += taken

    def _halve(self, taken: int) -> None:
        """For good: what did not fit once will not fit for the next batch."""
        self.limit = taken // 2
        if not self._reported:
            _logger.warning(
                "the device ran out of memory with %d rows at a time; going on with fewer, give a smaller batch size "
                "to avoid the attempt",
                taken,
            )
            self._reported = True


class TextRows(NamedTuple):
    """How texts go through a tower.

    Attributes:
        length: tokens that every text is padded to, whatever its own length; None where padding takes no part.
        own_terms: whether the head is told the token ids.
    """

    length: int | None = None
    own_terms: bool = False


class Tower:
    """One modality of a model.

    Args:
        path: what runs it, for people.
        backbone: model inputs to hidden states, or logits, wherever the head wants them.
        head: those to ids and weights by rank.
        vocab_size: V.
        rows: how many rows go through at once.
        texts: what is done to texts.
    """

    def __init__(
        self,
        path: PathChoice,
        backbone: Backbone,
        head: Head,
        vocab_size: int,
        rows: RowsAtOnce | None = None,
        texts: TextRows | None = None,
    ) -> None:
        self.path = path
        self.backbone = backbone
        self.head = head
        self._vocab_size = vocab_size
        self._rows = rows or RowsAtOnce()
        self._texts = texts or TextRows()

    def __call__(self, inputs: Inputs, top_k: int) -> SparseBatch:
        """Un-normalised weights of the `top_k` heaviest terms of each row.

        Args:
            inputs: `pixel_values` (B, 3, S, S) float32, or `input_ids` and `attention_mask` (B, L) int64.
            top_k: terms to keep; V or more keeps all positive ones.

        Raises:
            BundleError: the graph fails on these inputs.
            BackendUnavailable: the device has no memory for a single row.
        """
        count = len(next(iter(inputs.values())))
        if count == 0:
            empty = np.zeros((0, 0))
            return SparseBatch.from_ranked(empty.astype(np.int64), empty, self._vocab_size)
        parts = self._rows.run(count, lambda rows: self._ranked(inputs, rows, top_k))
        return SparseBatch.concatenate([SparseBatch.from_ranked(*part, self._vocab_size) for part in parts])

    def with_parts(self, backbone: Backbone, head: Head) -> Tower:
        """The same tower around other callables: these parts again, and something that watches them."""
        return Tower(self.path, backbone, head, self._vocab_size, self._rows, self._texts)

    def _ranked(self, inputs: Inputs, rows: slice, top_k: int) -> Ranked:
        part: Inputs = {name: value[rows] for name, value in inputs.items()}
        length = self._texts.length
        part = _without_shared_padding(part) if length is None else _padded(part, length)
        (hidden,) = self.backbone(part)
        mask = part.get("attention_mask")
        if self._texts.own_terms:
            return self.head(hidden, mask, top_k, part["input_ids"])
        return self.head(hidden, _mask_of(hidden, mask), top_k)


def _mask_of(hidden: Any, mask: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
    """The mask of the hidden states; where a tower makes one of a whole text, that of its first token, no padding."""
    if mask is None:
        return None
    length = (hidden.shape() if callable(hidden.shape) else hidden.shape)[1]
    return np.ascontiguousarray(mask[:, :1]) if length == 1 else mask


def _padded(inputs: Inputs, length: int) -> Inputs:
    """Texts of this many tokens; the token of padding is 0, and so is its mask."""
    room = {name: ((0, 0), (0, length - value.shape[1])) for name, value in inputs.items()}
    return {name: np.pad(value, room[name]) for name, value in inputs.items()}


def _without_shared_padding(inputs: Inputs) -> Inputs:
    """Texts cut to the longest of these rows: a slice of a batch may be shorter than the batch."""
    if "attention_mask" not in inputs:
        return inputs
    length = int(np.flatnonzero(inputs["attention_mask"].any(axis=0)).max(initial=1)) + 1
    return {name: np.ascontiguousarray(value[:, :length]) for name, value in inputs.items()}
