"""The program of a decode worker: sources come in over a pipe, pixels go out through shared memory.

A process of its own, for what no exception can report: a codec that hangs, or takes its process down with it. It
imports numpy and Pillow and nothing of the model, so that it starts at once. It ends with its pipe, however its parent
ended, and with the system's alarm if it hangs when nobody is left to kill it.

The ring is the memory that decoded images wait in: a fixed number of batches, written by decoders, read by inference.
This is what bounds the pipeline: without a free slot nothing more is read. The memory has no name in any file system,
so nothing is left behind however a run ends, and containers' small /dev/shm does not matter.
"""

from __future__ import annotations

import math
import mmap
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from lexlip_infer.errors import BackendUnavailable, ImageError
from lexlip_infer.inputs.images import truncation
from lexlip_infer.inputs.preprocessing import ImagePreprocessor

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


Loader: TypeAlias = Callable[[Any], Image.Image]
#: Slot and row in the ring.
Place: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker has to know before its first image; it is pickled.

    Attributes:
        load: from a source to an image; raises ImageError.
        preprocess: from that to pixels.
        timeout: seconds that an image may take.
    """

    load: Loader
    preprocess: ImagePreprocessor
    timeout: float


@dataclass(frozen=True, slots=True)
class Decoded:
    """How decoding one image went.

    Attributes:
        error: why its place in the ring holds no pixels; absent if it does.
        core_seconds: what it used of a core.
        note: what is missing of an image that was accepted although it breaks off.
    """

    error: str | None
    core_seconds: float = 0.0
    note: str | None = None


def decode_into(pixels: npt.NDArray[np.float32], source: object, setup: WorkerSetup) -> Decoded:
    """Load a source and write its pixels (3, S, S); an image that cannot be decoded is a result, a bug is raised."""
    started = time.thread_time()
    error = note = None
    try:
        image = setup.load(source)
        note = truncation(image)
        pixels[...] = setup.preprocess(image)
    except ImageError as image_error:
        error = str(image_error)
    return Decoded(error, time.thread_time() - started, note)


#: Seconds by which the alarm leaves the parent the first word.
_GRACE = 5.0


def serve(connection: Connection, descriptor: int) -> None:
    """Answer until the pipe is closed: first a setup and the ring's shape, then sources and places."""
    setup: WorkerSetup
    shape: RingShape
    setup, shape = connection.recv()
    pixels = map_pixels(descriptor, shape)
    connection.send(None)
    while True:
        try:
            source, place = connection.recv()
            signal.setitimer(signal.ITIMER_REAL, setup.timeout + _GRACE)
            connection.send(_answer(pixels[place], source, setup))
            signal.setitimer(signal.ITIMER_REAL, 0)
        except (EOFError, OSError):  # the parent is gone, perhaps in the middle of a word
            return


def _answer(pixels: npt.NDArray[np.float32], source: object, setup: WorkerSetup) -> Decoded | str:
    try:
        return decode_into(pixels, source, setup)
    except Exception:  # noqa: BLE001  (a bug of ours: the parent raises it with this text)
        return traceback.format_exc()


def main() -> None:
    """Entry: the numbers of the pipe's and of the memory's descriptor are the last two arguments."""
    serve(Connection(int(sys.argv[-2])), int(sys.argv[-1]))
