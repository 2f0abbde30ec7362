"""Decode workers: whatever a decoder does, it costs that image and no other, and nobody is left behind."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer.errors import BackendUnavailable
from lexlip_infer.inputs.items import ImageItem
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_infer.pipeline import decoders
from lexlip_infer.pipeline.decode_worker import PixelRing, WorkerSetup
from lexlip_infer.pipeline.decoders import DecodeProcesses

PREPROCESS = ImagePreprocessor(8, "squash", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
GREY = np.full((3, 8, 8), 128 / 255, np.float32)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A loader that workers can import: they look where this process looks."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import hostile_loaders

    return hostile_loaders.load


@pytest.fixture
def ring() -> Iterator[PixelRing]:
    with closing(PixelRing(1, 8, 8)) as ring:
        yield ring


@pytest.fixture
def start(load: Any, ring: PixelRing) -> Iterator[Callable[..., DecodeProcesses]]:
    """Start workers on the ring."""
    pools = []

    def make(workers: int = 1, timeout: float = 60.0) -> DecodeProcesses:
        pools.append(DecodeProcesses(ring, WorkerSetup(load, PREPROCESS, timeout), workers))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def decode(pool: DecodeProcesses, *names: str) -> list[str | None]:
    futures = [pool.submit(Path(name), (0, row)) for row, name in enumerate(names)]
    return [future.result().error for future in futures]


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_pixels_arrive_in_their_places(start: Any, ring: PixelRing) -> None:
    pool = start(2)
    assert decode(pool, "a", "refuse", "c") == [None, "refuse: refused", None]
    assert np.allclose(ring.pixels[0, [0, 2]], GREY, atol=1e-6)
    assert not ring.pixels[0, [1, 3, 4]].any()
    assert sum(pool.submit(Path("d"), (0, 3)).result().core_seconds for _ in range(20)) > 0


def test_a_decoder_that_crashes(start: Any, ring: PixelRing) -> None:
    assert decode(start(), "a", "segfault", "exit", "d") == [
        None,
        "the decoder crashed, twice (SIGSEGV)",
        "the decoder crashed, twice (exit status 7)",
        None,
    ]
    assert np.allclose(ring.pixels[0, [0, 3]], GREY, atol=1e-6)


def test_a_worker_that_somebody_killed_is_no_fault_of_the_image(start: Any, tmp_path: Path) -> None:
    assert decode(start(), str(tmp_path / "once")) == [None]


def test_a_decoder_that_hangs(start: Any) -> None:
    assert decode(start(2, timeout=0.3), "a", "hang", "c", "d") == [
        None,
        "the decoder hung: no result after 0.3 s",
        None,
        None,
    ]


def test_a_bug_of_ours_is_raised(start: Any) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)in a decode worker:.*ZeroDivisionError: bug"):
        decode(start(), "bug")


def test_closing_waits_for_no_image(start: Any) -> None:
    pool = start(2)
    futures = [pool.submit(Path("hang"), (0, row)) for row in range(8)]
    decode_one = pool._workers[0]
    while decode_one._process is None:
        time.sleep(0.01)
    pool.close()
    assert all(future.done() for future in futures)


def test_workers_that_cannot_start(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(BackendUnavailable, match=r"did not start \(exit status 3\); pass --decode-workers 0 to decode"):
        decode(start(), "a")
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(BackendUnavailable, match=r"did not start \(No such file or directory\); pass"):
        decode(start(), "a")


def test_a_ring_that_finds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "ftruncate", refuse)
    said = (
        r"no memory for decoded images, 19 MB \(Cannot allocate memory\); use a smaller --batch-size or fewer --lanes"
    )
    with pytest.raises(BackendUnavailable, match=said):
        PixelRing(2, 16, 224)


def test_workers_import_nothing_heavy() -> None:
    program = "import sys; import lexlip_infer.pipeline.decode_worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"onnxruntime", "numba", "torch", "scipy", "pydantic", "tokenizers", "rich", "typer"}
    assert not heavy & {name.split(".")[0] for name in done.stdout.split()}


#: Starts a worker, has it hang or wait, says which process that is, and is killed.
PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import hostile_loaders
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_infer.pipeline import decode_worker
from lexlip_infer.pipeline.decoders import DecodeProcesses
from lexlip_infer.pipeline.decode_worker import PixelRing
preprocess = ImagePreprocessor(8, "squash", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
pool = DecodeProcesses(PixelRing(1, 1, 8), decode_worker.WorkerSetup(hostile_loaders.load, preprocess, 60.0), 1)
pool.submit(Path("a"), (0, 0)).result()
print(pool._workers[0]._process.pid, flush=True)
sys.stdin.read()
"""


def until(done: Callable[[], bool], otherwise: str) -> None:
    """Look again and again, as often as a hung process takes to be believed in."""
    for _ in range(20_000):
        if done():
            return
        time.sleep(0.005)
    pytest.fail(otherwise)


def test_workers_notice_that_their_parent_was_killed() -> None:
    command = [sys.executable, "-c", PARENT, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_running(worker)
        parent.kill()
    until(lambda: not is_running(worker), "the worker is left behind")


def test_an_alarm_ends_a_worker_that_hangs_when_nobody_is_left(monkeypatch: pytest.MonkeyPatch, start: Any) -> None:
    monkeypatch.setattr(decoders, "_PROGRAM", decoders._PROGRAM.replace(
        "main()\n", "from lexlip_infer.pipeline import decode_worker\ndecode_worker._GRACE = -59.8\nmain()\n"
    ))  # fmt: skip
    assert decode(start(), "a", "hang") == [None, f"the decoder crashed, twice ({signal.Signals.SIGALRM.name})"]


def test_order_under_random_delays(load: Any, reader: Any, encode_images: Any, tmp_path: Path) -> None:
    """Some decode slowly, some crash, some are refused; ids, failures and their order are those of the reader."""
    chance = random.Random(0)
    kinds = ["image"] * 20 + ["refuse", "segfault"]
    chance.shuffle(kinds)
    names = [f"{number:02d}-{kind}{chance.choice(['', '.1', '.3'])}" for number, kind in enumerate(kinds)]
    images = reader([ImageItem(name, f"there/{name}", Path(name), 1) for name in names])
    manifest = encode_images(
        images, tmp_path / "out", batch_size=3, items_per_shard=7, lanes=2, decode_workers=3, load=load
    )
    lines = b"".join((tmp_path / "out" / "vectors" / shard.name).read_bytes() for shard in manifest.shards)
    written = [line.split(b'"')[3].decode() for line in lines.splitlines()]
    assert written == [name for name in names if "image" in name]
    failures = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert [line.split('"')[3] for line in failures] == [name for name in names if "image" not in name]
    assert [shard.inputs for shard in manifest.shards] == [7, 7, 7, 1]
