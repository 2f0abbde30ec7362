"""What a run tells of itself: its log, a progress bar, early warnings, and curves at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from lexlip_infer.files import read_regular, replacing, write_whole
from lexlip_kernels.errors import InputError, require

#: Bytes of a run's log; a line takes some two hundred.
MOST_LOG = 256_000_000


def read_log(file: Path) -> list[dict[str, Any]]:
    """All whole lines; a last one that a kill cut short is left out.

    Raises:
        InputError: a line before the last is no record of a step.
    """
    if not file.exists():
        return []
    try:
        data = read_regular(file, MOST_LOG, refuse=ValueError)
        log = [json.loads(line) for line in data.decode().split("\n")[:-1]]
        if all(isinstance(line, dict) and isinstance(line.get("step"), int) for line in log):
            return log
        reason = "a line without a step"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise InputError(f"{file}: not the log of a run ({reason}); move it away")


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


class Progress(RichProgress):
    """A live bar with step, loss and time left on a terminal, used as a context; elsewhere only what is said.

    Args:
        total: optimiser steps.
        step: steps already taken.
        enabled: False in all but the main process.
    """

    def __init__(self, total: int, step: int, enabled: bool) -> None:
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("loss {task.fields[loss]:.4f}"))
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        console = Console(stderr=True, soft_wrap=True)
        super().__init__(*columns, *times, console=console, disable=not (enabled and sys.stderr.isatty()))
        self._enabled = enabled
        self._bar = self.add_task("train", total=total, completed=step, loss=float("nan"))

    def show(self, step: int, loss: float) -> None:
        """How far the run is."""
        self.update(self._bar, completed=step, loss=loss)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._enabled:
            self.console.print(line, highlight=False, markup=False)


#: Fewer active terms than this cannot tell a few thousand photographs apart.
FEW_TERMS = 4.0
#: Squared length of the mean unit vector; 1 where all vectors are the same.
ALIKE = 0.95
#: Share of the vocabulary that is still active once the warm-up is over.
DENSE = 0.5


class SparsityMonitor:
    """Gives each warning once.

    Args:
        vocab_size: V; None for a dense model, which has no terms.
        patience: optimiser steps before the first warning; a model starts dense, and alike.
    """

    def __init__(self, vocab_size: int | None, patience: int) -> None:
        self.vocab_size = vocab_size
        self.patience = patience
        self.given: set[str] = set()

    def check(self, step: int, figures: Mapping[str, float]) -> list[str]:
        """New warnings, from the objective's `terms_*` and `alike_*` figures."""
        if step < self.patience:
            return []
        found = [w for side in ("image", "text") for w in self._problems(side, figures)]
        new = [text for key, text in found if key not in self.given]
        self.given |= {key for key, _ in found}
        return new

    def _problems(self, side: str, figures: Mapping[str, float]) -> list[tuple[str, str]]:
        problems = []
        if figures.get(f"alike_{side}", 0.0) > ALIKE:
            alike = figures[f"alike_{side}"]
            problems.append((f"alike_{side}", f"all {side} vectors are alike (mean cosine {alike:.3f}): collapsed"))
        terms = figures.get(f"terms_{side}")
        if self.vocab_size is None or terms is None:
            return problems
        if terms < FEW_TERMS:
            problems.append(
                (f"few_{side}", f"{terms:.1f} active terms per {side}: collapsed; lower objective.flops_weight")
            )
        if terms > DENSE * self.vocab_size:
            text = f"{terms:.0f} of {self.vocab_size} terms active per {side}: it stays dense; "
            problems.append((f"dense_{side}", text + "set objective.flops_normalised=false or objective.joint_top_k"))
        return problems


#: Panels of the figure and the log's columns in each.
_PANELS = {
    "loss": ("loss",),
    "recall on the development split": ("t2i_1", "t2i_5", "t2i_10", "i2t_1", "i2t_5", "i2t_10"),
    "active terms": ("terms_image", "terms_text"),
}


def plot_run(log: list[dict[str, Any]], file: Path) -> None:
    """Draw the log's curves into a PNG; panels without data are left out.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require("matplotlib", extra="viz")
    from matplotlib.figure import Figure

    panels = {title: names for title, names in _PANELS.items() if any(name in line for line in log for name in names)}
    if not panels:
        return
    figure = Figure(figsize=(5 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            points = [(line["step"], line[name]) for line in log if name in line]
            if points:
                axis.plot(*zip(*points, strict=True), label=name)
        axis.set(title=title, xlabel="optimiser step")
        axis.legend(fontsize="small")
    with replacing(file) as picture:
        figure.savefig(picture, dpi=120, format="png")
