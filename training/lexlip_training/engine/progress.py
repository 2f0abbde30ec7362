"""A live bar with step, loss and time left on a terminal; elsewhere only what is said."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

__all__ = ["Progress"]


class Progress:
    """The bar of one run, used as a context.

    Args:
        total: optimiser steps.
        step: steps already taken.
        enabled: False in all but the main process.
    """

    def __init__(self, total: int, step: int, enabled: bool) -> None:
        self._enabled = enabled
        console = Console(stderr=True, soft_wrap=True)
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._bar = RichProgress(*columns, console=console, disable=not (enabled and sys.stderr.isatty()))
        self._task = self._bar.add_task("train", total=total, completed=step, loss=float("nan"))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, step: int, loss: float) -> None:
        """Show how far the run is."""
        self._bar.update(self._task, completed=step, loss=loss)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._enabled:
            self._bar.console.print(line, highlight=False, markup=False)
