"""Files that commands write at the end, refused at the beginning; and the option --save of those that evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Save", "refuse_existing"]

Save = Annotated[
    Path | None, typer.Option(metavar="JSON", help="write what every single query got, for lexlip eval compare")
]


def refuse_existing(file: Path | None) -> None:
    """Say so before minutes of work, not after them.

    Raises:
        OutputError: the file exists, or its folder does not.
    """
    if file is not None:
        from lexlip_infer.files import check_new_path

        check_new_path(file)
