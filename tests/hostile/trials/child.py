"""A command in a process of its own that has everything imported already: a fork of one that only imports.

No model is loaded and no thread started before a fork. The child is the leader of a session, which is ended with it;
its memory, time, output and end are what a trial looks at.
"""

from __future__ import annotations

import importlib
import os
import resource
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from trials.commands import run_steps

#: What the commands import sooner or later, by kind of folder.
_MODULES = (
    "lexlip_infer.cli.encode",
    "lexlip_infer.cli.main",
    "lexlip_infer.cli.search",
    "lexlip_infer.cli.index",
    "lexlip_infer.cli.inspect",
    "lexlip_infer.cli.check",
    "lexlip_infer.cli.convert",
    "lexlip_infer.pipeline.encode",
    "lexlip_infer.search.index",
    "lexlip_infer.search.registry",
    "lexlip_infer.search.exact.building",
    "lexlip_infer.encoder",
    "lexlip_infer.collection.collection",
    "lexlip_infer.formats.convert",
    "lexlip_infer.impacts.lint",
    "onnxruntime",
    "tokenizers",
    "rich.table",
    "rich.progress",
    "scipy.sparse",
    "PIL.Image",
)
_FURTHER = {
    "checkpoint": (
        "lexlip_training.engine.run",
        "lexlip_training.cli",
        "lexlip_export.cli",
        "lexlip_export.bundle_writer",
        "transformers.models.bert.modeling_bert",
        "onnx",
        "onnxscript",
        "torch.onnx",
        "matplotlib.pyplot",
    ),
}

#: Private memory beyond what the imports took; a command that asks for more fails at once, and so does the trial.
_ROOM = 2 << 30
_LARGEST_FILE = 2 << 30


@dataclass(frozen=True)
class End:
    """How a child ended.

    Attributes:
        status: exit status, or minus the signal.
        timed_out: whether it was ended by us.
        seconds: until then, without what it had to wait for a processor.
        peak: resident memory in bytes, the imports' included.
        stdout: what it printed.
        stderr: likewise, all steps.
    """

    status: int
    timed_out: bool
    seconds: float
    peak: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        """What the last step said on stderr."""
        return self.stderr.rsplit("\f", maxsplit=1)[-1].strip().splitlines()


def prepare(kind: str) -> None:
    """Import, and compile, what the children need; once in a process that will fork."""
    for module in (*_MODULES, *_FURTHER.get(kind, ())):
        importlib.import_module(module)
    from lexlip_infer.impacts import JsonLinesParser
    from lexlip_infer.vocabulary import Vocabulary

    # Loads the compiled parser from numba's cache.
    JsonLinesParser(Vocabulary(("a",))).parse(b'{"id":"x","contents":"","vector":{"a":1}}\n', "x")
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise RuntimeError(f"{threads} threads before a fork; expected imports that start none")


def run_child(steps: list[list[str]], place: Path, limit: float) -> End:
    """Run commands with `place/here` as the current directory, for at most so many seconds."""
    pid = os.fork()
    if not pid:
        _be_child(steps, place)
    started, timed_out = time.monotonic(), False
    descriptor = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    seconds = 0.0
    while not poll.poll(200):
        seconds = time.monotonic() - started - _waited(pid)
        if seconds > limit:
            timed_out = True
            break
    seconds = time.monotonic() - started - _waited(pid)
    os.close(descriptor)
    _end_session(pid)
    _, status, usage = os.wait4(pid, 0)
    texts = [(place / name).read_text("utf-8", "replace") for name in ("stdout", "stderr")]
    return End(os.waitstatus_to_exitcode(status), timed_out, seconds, usage.ru_maxrss << 10, *texts)


def _waited(pid: int) -> float:
    """Seconds in which it could have run, had a processor been free: a busy machine is no hang."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _end_session(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has no session yet, or nobody is left in it
        os.kill(pid, signal.SIGKILL)


def _be_child(steps: list[list[str]], place: Path) -> NoReturn:
    status = 1
    try:
        os.setsid()
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(place / "here")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
        room = _private() + _ROOM
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))
        status = run_steps(steps)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _private() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))
