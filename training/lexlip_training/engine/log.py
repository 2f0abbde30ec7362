"""The run's log: one JSON line a record, TensorBoard beside it, and plots at the end.

A resumed run first drops the lines behind the step it goes on from, so that every step stands in the log once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lexlip_infer.files import write_whole
from lexlip_kernels.errors import InputError, require

__all__ = ["RunLog", "read_log"]


def read_log(file: Path) -> list[dict[str, Any]]:
    """All whole lines; a last one that a kill cut short is left out.

    Raises:
        InputError: a line before the last is no JSON.
    """
    if not file.exists():
        return []
    lines = file.read_text("utf-8").split("\n")
    try:
        return [json.loads(line) for line in lines[:-1]]
    except ValueError:
        raise InputError(f"{file}: not the log of a run; move it away") from None


class RunLog:
    """Appends records to `log.jsonl` and, where asked, to TensorBoard.

    Args:
        folder: of the run.
        tensorboard: also write event files.
        step: lines of later steps are dropped.
    """

    def __init__(self, folder: Path, tensorboard: bool, step: int) -> None:
        self.file = folder / "log.jsonl"
        kept = [line for line in read_log(self.file) if line["step"] <= step]
        write_whole(self.file, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._board: Any = None
        if tensorboard:
            require("tensorboard", extra="train")
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; it holds `step`."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in record.items():
                if isinstance(value, int | float) and name not in ("step", "epoch"):
                    self._board.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Flush TensorBoard's files."""
        if self._board is not None:
            self._board.close()
