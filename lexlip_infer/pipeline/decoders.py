"""Decoding ahead of inference, on worker processes or, where few images are not worth starting any, on threads.

A worker is started on first use, and replaced after it died or was killed for hanging. Not `multiprocessing`: its
processes import the caller's main module again, with whatever that loads, and a fork would copy a process in which
ONNX Runtime has threads.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import TypeAlias

from lexlip_infer.errors import BackendUnavailable
from lexlip_infer.pipeline.decode_worker import Decoded, PixelRing, Place, WorkerSetup, decode_into

#: Modules are looked for where this process looks for them, which an environment variable could not say exactly.
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from lexlip_infer.pipeline.decode_worker import main
main()
"""


class DecodeProcess:
    """One worker. All but `stop` belongs to one thread at a time.

    Args:
        ring: where it puts pixels.
        setup: how it makes them.
    """

    def __init__(self, ring: PixelRing, setup: WorkerSetup) -> None:
        self._ring = ring
        self._setup = setup
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def decode(self, source: object, place: Place) -> Decoded:
        """Have a source decoded.

        An image that takes its worker down is tried once more in a new one: the system kills processes too, for want
        of memory, and that is not the image's fault. One that hangs has had its time.

        Raises:
            BackendUnavailable: no worker can be started.
            CancelledError: `stop` was called.
            RuntimeError: a bug of ours, with the worker's traceback.
        """
        ending = ""
        for _attempt in range(2):
            connection = self._connection or self._start()
            try:
                connection.send((source, place))
                if not connection.poll(self._setup.timeout):
                    self._end()
                    return Decoded(f"the decoder hung: no result after {self._setup.timeout:g} s")
                return _checked(connection.recv())
            except (EOFError, OSError):  # OSError: it died with half an answer in the pipe
                ending = _describe(self._end())
        return Decoded(f"the decoder crashed, twice ({ending})")

    def stop(self) -> None:
        """Kill the worker, from any thread; whoever waits for it gets CancelledError, now and later."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Let the worker end."""
        if self._connection is not None:
            self._end()

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        try:
            with self._lock:
                if self._stopped:
                    raise CancelledError
                self._process = self._spawn(theirs)
        finally:
            theirs.close()
        self._connection = ours
        try:
            ours.send((self._setup, self._ring.shape))
            ours.recv()
        except (EOFError, OSError):
            raise _not_started(_describe(self._end())) from None
        return ours

    def _spawn(self, theirs: Connection) -> subprocess.Popen[bytes]:
        descriptors = (theirs.fileno(), self._ring.descriptor)
        command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), *map(str, descriptors)]
        try:
            return subprocess.Popen(  # noqa: S603  (our own program)
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=descriptors
            )
        except OSError as error:
            raise _not_started(error.strerror or str(error)) from None

    def _end(self) -> int:
        """Kill what is left of the worker; its exit status."""
        assert self._process is not None
        assert self._connection is not None
        self._connection.close()
        self._connection = None
        with self._lock:
            self._process.kill()  # one that died of itself keeps the status it died with
            status = self._process.wait()
            self._process = None
        return status


def _not_started(reason: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"a decode worker did not start ({reason}); pass --decode-workers 0 to decode in threads instead"
    )


def _checked(answer: Decoded | str) -> Decoded:
    if isinstance(answer, str):
        raise RuntimeError(f"in a decode worker:\n{answer}")
    return answer


def _describe(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


class DecodeThreads:
    """Threads of this process: Pillow lets the others run while it decodes. A decoder that hangs, hangs the run."""

    #: Whether core-seconds are used in other processes.
    elsewhere = False

    def __init__(self, ring: PixelRing, setup: WorkerSetup, workers: int) -> None:
        self._ring = ring
        self._setup = setup
        self._threads = ThreadPoolExecutor(workers, "decode")

    def submit(self, source: object, place: Place) -> Future[Decoded]:
        """Decode a source into its place in the ring, after those that were submitted before."""
        return self._threads.submit(decode_into, self._ring.pixels[place], source, self._setup)

    def close(self) -> None:
        """Cancel what is still to do; waits for the images that are being decoded."""
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
        """As `DecodeThreads`."""
        return self._threads.submit(self._decode, source, place)

    def close(self) -> None:
        """End at once: kills the workers."""
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


#: Whoever fills the ring.
Decoder: TypeAlias = DecodeThreads | DecodeProcesses
