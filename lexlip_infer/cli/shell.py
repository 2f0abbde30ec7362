"""What every command shares: how it ends.

Status 0: done. 2: nothing was done, one line on stderr says why. 3: done, some inputs failed and are listed.
130: interrupted. `LEXLIP_DEBUG=1` lets the traceback of an error through.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from lexlip_infer.errors import LexLIPError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FAILURES_LISTED", "application", "console", "run_application"]

FAILURES_LISTED = 3


def application(description: str) -> typer.Typer:
    """A Typer application with plain help, which starts in a fraction of the time that rich markup takes."""
    return typer.Typer(help=description, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def run_application(app: typer.Typer, name: str) -> NoReturn:
    """Run a console command to its exit status."""
    try:
        app(prog_name=name)
    except LexLIPError as error:
        if os.environ.get("LEXLIP_DEBUG"):
            raise
        print(f"{name}: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def console() -> Console:
    """Standard output for tables, which wrap at the width of a terminal and nowhere else."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_NO_WRAPPING)


#: Columns assumed where there is no terminal.
_NO_WRAPPING = 1000


def _one_line(error: LexLIPError) -> str:
    text = " ".join(str(error).split())
    return text.encode("utf-8", "backslashreplace").decode()
