"""An engine in a process of its own, as `run.py` talks to it: a batch size in, seconds and core-seconds back."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from contract import vectors_file

from lexlip_infer.errors import BackendUnavailable

#: Seconds to load, compile and encode once; a few times what the slowest needs on two idle cores.
LIMIT = 600


class Child:
    """A peer that is loaded and has encoded everything once with every batch size.

    Args:
        arguments: see `contract.read_job`.
        vectors: where its vectors lie then, see `contract.vectors_file`; missing where it has none.
        threads: that the libraries of its process are told to use.
        python: interpreter that runs it.

    Raises:
        BackendUnavailable: it cannot run here; the reason is its own.
    """

    def __init__(self, arguments: Sequence[str], vectors: Path, threads: int, python: Path) -> None:
        self._vectors = vectors
        self._errors = vectors.with_name(f"{vectors.name}.stderr")
        command = [str(python), str(Path(__file__).with_name("engines.py")), *arguments, "--vectors", str(vectors)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
            )
        late = threading.Timer(LIMIT, self._process.kill)
        late.start()
        try:
            about = self._answer()
        except BackendUnavailable as error:
            self.close()
            raise BackendUnavailable(f"not ready after {LIMIT} s" if late.finished.is_set() else str(error)) from None
        finally:
            late.cancel()
        self.name: str = about["peer"]
        self.output: str = about["output"]
        self.peak_mb: int = about["peak_mb"]
        self.cpu_seconds: dict[int, list[float]] = {}

    def vectors(self, batch_size: int) -> Path:
        """File of its vectors."""
        return vectors_file(self._vectors, batch_size)

    def seconds(self, batch_size: int) -> float:
        """Encode everything once more.

        Raises:
            BackendUnavailable: the process has died.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{batch_size}\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.cpu_seconds.setdefault(batch_size, []).append(answer["cpu_seconds"])
        return float(answer["seconds"])

    def close(self) -> None:
        """End the process, which stops when nothing more can come, or else is stopped."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> Any:
        """The next line of JSON; libraries print lines of their own between ours."""
        lines: IO[str] | None = self._process.stdout
        assert lines is not None
        for line in lines:
            if line.startswith("{"):
                return json.loads(line)
        said = self._errors.read_text().strip().splitlines() or [f"ended with status {self._process.wait()}"]
        raise BackendUnavailable(said[-1])
