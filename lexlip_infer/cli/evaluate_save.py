"""The option --save of the commands that evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.errors import OutputError

__all__ = ["Save", "refuse_existing"]

Save = Annotated[
    Path | None, typer.Option(metavar="JSON", help="write what every single query got, for lexlip eval compare")
]


def refuse_existing(save: Path | None) -> None:
    """Say so before minutes of work, not after them.

    Raises:
        OutputError: the file exists, or its folder does not.
    """
    if save is None:
        return
    if save.exists():
        raise OutputError(f"{save}: exists, and nothing is written over; name a new file or remove it")
    if not save.parent.is_dir():
        raise OutputError(f"{save}: there is no folder {save.parent}; make it first")
