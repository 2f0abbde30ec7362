"""What every command shares: how it ends.

Status 0: done. 1: the reader of our output has gone (`| head`), which Typer notices before we could. 2: nothing was
done, one line on stderr says why. 3: done, some inputs failed and are listed. 130: interrupted. `LEXLIP_DEBUG=1` lets
the traceback of an error through.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lexlip_infer.errors import LexLIPError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from typer.core import TyperGroup

__all__ = [
    "FAILURES_LISTED",
    "HELP_OPTIONS",
    "Threads",
    "Version",
    "application",
    "console",
    "counted",
    "one_line",
    "run_application",
]

FAILURES_LISTED = 3

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lexlip-infer {version('lexlip-infer')}")
        raise typer.Exit


#: The option --threads of a command. More than the largest machine has is a slip of the hand, and fails far from here.
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=4096, help="CPU threads  [default: all available]")
]

#: The option --version of a command.
Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and stop")
]


def application(
    description: str, group: type[TyperGroup] | None = None, *, no_args_is_help: bool = False
) -> typer.Typer:
    """A Typer application with plain help, which starts in a fraction of the time that rich markup takes."""
    return typer.Typer(
        cls=group,
        help=description,
        no_args_is_help=no_args_is_help,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=HELP_OPTIONS,
    )


def run_application(app: typer.Typer, name: str) -> NoReturn:
    """Run a console command to its exit status."""
    _replace_closed_streams()
    _start_and_end_quickly()
    try:
        app(prog_name=name)
    except KeyboardInterrupt:
        sys.exit(130)
    except LexLIPError as error:
        if os.environ.get("LEXLIP_DEBUG"):
            raise
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is not None or os.environ.get("LEXLIP_DEBUG"):
            raise  # of a file, not of the output: a bug of ours
        # What could not be written is still in a buffer, and would fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"{name}: the output cannot be written ({error.strerror or error})", file=sys.stderr)
        sys.exit(2)
    except ImportError as error:
        # Compiled modules turn an interrupt of their own import into this.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        sys.exit(130)
    sys.exit(0)


def _start_and_end_quickly() -> None:
    """A short command spends more time on loading what it needs, and on letting go of it, than on its work."""
    gc.set_threshold(50_000)  # loading makes many objects and hardly any garbage
    atexit.register(gc.freeze)  # a process that ends need not look for some once more
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else every package installed is asked for some


def _replace_closed_streams() -> None:
    """A stream that the caller has closed (`>&-`) is none at all in Python; what goes there is lost, as was asked."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115  (open until the process ends)


def console() -> Console:
    """Standard output for tables, which wrap at the width of a terminal and nowhere else."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_NO_WRAPPING)


@contextmanager
def progress_bar(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """Takes the number that are done; draws a bar on a terminal, nothing elsewhere; `total` if known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and what it counts: "1 image", "1,000 images"; `many` where an s alone does not make the plural."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


#: Columns assumed where there is no terminal.
_NO_WRAPPING = 1000


def one_line(error: LexLIPError) -> str:
    """What it says, as one line of valid text."""
    text = " ".join(str(error).split())
    return text.encode("utf-8", "backslashreplace").decode()
