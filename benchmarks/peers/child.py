"""The runner's side of `contract.py`: a peer in a process of its own, which stays until it is closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from lexlip_infer.errors import BackendUnavailable

__all__ = ["Child"]


class Child:
    """A peer that is loaded and has encoded everything once.

    Args:
        script: in this folder.
        arguments: see `contract.read_job`.
        vectors: where its vectors lie then; missing where it has none.
        threads: that the libraries of its process are told to use.

    Raises:
        BackendUnavailable: it cannot run here; the reason is its own.
    """

    def __init__(self, script: str, arguments: Sequence[str], vectors: Path, threads: int) -> None:
        self.vectors = vectors
        self._errors = vectors.with_suffix(".stderr")
        command = [sys.executable, str(Path(__file__).with_name(script)), *arguments, "--vectors", str(vectors)]
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
        try:
            about = self._answer()
        except BackendUnavailable:
            self.close()
            raise
        self.name: str = about["peer"]
        self.output: str = about["output"]

    def seconds(self) -> float:
        """Encode everything once more.

        Raises:
            BackendUnavailable: the process has died.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def close(self) -> None:
        """End the process, which stops when nothing more can come."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
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
