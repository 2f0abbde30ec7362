"""The memory that decoded images wait in: a fixed number of batches, written by decoders, read by inference.

This is what bounds the pipeline: without a free slot nothing more is read. The memory has no name in any file system,
so nothing is left behind however a run ends, and containers' small /dev/shm does not matter.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from queue import SimpleQueue
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import BackendUnavailable

__all__ = ["PixelRing", "RingShape", "map_pixels"]

#: Slots, B, 3, S, S.
RingShape: TypeAlias = tuple[int, int, int, int, int]


class PixelRing:
    """Slots for batches of pixels.

    Args:
        slots: batches.
        batch_size: B.
        size: S.

    Raises:
        BackendUnavailable: there is no memory for it.

    Attributes:
        shape: (slots, B, 3, S, S).
        descriptor: of the memory; `map_pixels` maps it in another process.
        pixels: the memory, float32.
    """

    def __init__(self, slots: int, batch_size: int, size: int) -> None:
        self.shape: RingShape = (slots, batch_size, 3, size, size)
        try:
            self.descriptor = _anonymous_file()
            os.ftruncate(self.descriptor, _size(self.shape))
            self.pixels = map_pixels(self.descriptor, self.shape)
        except OSError as error:
            raise BackendUnavailable(
                f"no memory for decoded images, {_size(self.shape) / 1e6:,.0f} MB ({error.strerror}); "
                "use a smaller --batch-size or fewer --lanes"
            ) from None
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(slots):
            self._free.put(slot)

    def take(self) -> int:
        """A free slot; waits for one."""
        return self._free.get()

    def give_back(self, slot: int) -> None:
        """The slot may be written anew."""
        self._free.put(slot)

    def close(self) -> None:
        """No more processes can map it; the memory itself goes with its last user."""
        os.close(self.descriptor)


def map_pixels(descriptor: int, shape: RingShape) -> npt.NDArray[np.float32]:
    """The ring's memory as an array of its shape."""
    return np.frombuffer(mmap.mmap(descriptor, _size(shape)), np.float32).reshape(shape)


def _size(shape: RingShape) -> int:
    return math.prod(shape) * np.dtype(np.float32).itemsize


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("lexlip-pixels")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
