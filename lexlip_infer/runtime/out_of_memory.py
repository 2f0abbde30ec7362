"""A GPU that is full gets half as many rows at a time, and goes on.

Which batch fits depends on the model, the GPU and who else uses it, so it is found by trying. Only an allocation that
failed is answered so; every other error stays an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from lexlip_infer.errors import BackendUnavailable

__all__ = ["DeviceOutOfMemory", "RowsAtOnce", "is_out_of_memory"]

_logger = logging.getLogger(__name__)

#: As ONNX Runtime's arena, the CUDA runtime, cuBLAS and torch say it; they share no class of error for it.
_MESSAGE = re.compile(
    r"Failed to allocate memory|out of memory|ALLOC_FAILED|Available memory of \d+ is smaller than requested",
    re.IGNORECASE,
)

Result = TypeVar("Result")


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
