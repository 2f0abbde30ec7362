"""Decoding ahead of inference, on worker processes or, where few images are not worth starting any, on threads."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol

from lexlip_infer.pipeline.decode_process import DecodeProcess
from lexlip_infer.pipeline.decode_worker import Decoded, Place, WorkerSetup, decode_into
from lexlip_infer.pipeline.pixel_ring import PixelRing

__all__ = ["DecodeProcesses", "DecodeThreads", "Decoder"]


class Decoder(Protocol):
    """Whoever fills the ring."""

    #: Whether its core-seconds are used in other processes.
    elsewhere: bool

    def submit(self, source: object, place: Place) -> Future[Decoded]:
        """Decode a source into its place, after those that were submitted before."""
        ...

    def close(self) -> None:
        """End at once; what is still to do is cancelled."""
        ...


class DecodeThreads:
    """Threads of this process: Pillow lets the others run while it decodes. A decoder that hangs, hangs the run."""

    elsewhere = False

    def __init__(self, ring: PixelRing, setup: WorkerSetup, workers: int) -> None:
        self._ring = ring
        self._setup = setup
        self._threads = ThreadPoolExecutor(workers, "decode")

    def submit(self, source: object, place: Place) -> Future[Decoded]:
        """See `Decoder`."""
        return self._threads.submit(decode_into, self._ring.pixels[place], source, self._setup)

    def close(self) -> None:
        """See `Decoder`; waits for the images that are being decoded."""
        self._threads.shutdown(cancel_futures=True)


class DecodeProcesses:
    """Worker processes, each served by a thread that waits for it; they start with the first images."""

    elsewhere = True

    def __init__(self, ring: PixelRing, setup: WorkerSetup, workers: int) -> None:
        self._workers = [DecodeProcess(ring, setup) for _ in range(workers)]
        self._idle: SimpleQueue[DecodeProcess] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, "decode", _block_interrupts)

    def submit(self, source: object, place: Place) -> Future[Decoded]:
        """See `Decoder`."""
        return self._threads.submit(self._decode, source, place)

    def close(self) -> None:
        """See `Decoder`; kills the workers."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown()
        for worker in self._workers:
            worker.close()

    def _decode(self, source: object, place: Place) -> Decoded:
        worker = self._idle.get()
        try:
            return worker.decode(source, place)
        finally:
            self._idle.put(worker)


def _block_interrupts() -> None:
    """A Ctrl-C goes to every process of the terminal; workers started from a thread that blocks it never see it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
