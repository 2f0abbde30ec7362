"""What every command shares: how it begins, what options mean everywhere, and how it ends.

Status 0: done. 1: the reader of our output has gone (`| head`), which Typer notices before we could. 2: nothing was
done, one line on stderr says why. 3: done, some inputs failed and are listed. 130: interrupted. `LEXLIP_DEBUG=1` lets
the traceback of an error through.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from lexlip_infer.errors import InputError, LexLIPError

if TYPE_CHECKING:
    from rich.console import Console

FAILURES_LISTED = 3

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lexlip-infer {version('lexlip-infer')}")
        raise typer.Exit


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
        sys.exit(INTERRUPTED)
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
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _start_and_end_quickly() -> None:
    """A short command spends more time on loading what it needs, and on letting go of it, than on its work."""
    gc.set_threshold(50_000)  # loading makes many objects and hardly any garbage
    atexit.register(_end_quickly)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else every package installed is asked for some


def _end_quickly() -> None:
    """A process that ends need not look for garbage once more."""
    if "triton" not in sys.modules:  # which counts aloud what nobody has collected
        gc.freeze()


def _replace_closed_streams() -> None:
    """A stream that the caller has closed (`>&-`) is none at all in Python; what goes there is lost, as was asked."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115  (open until the process ends)


def console() -> Console:
    """Standard output for tables, which wrap at the width of a terminal and nowhere else."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_NO_WRAPPING)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """To standard output, without lines; cells are shown as they are."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console().print(table)


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


#: Characters.
_LONGEST_MESSAGE = 2000


def one_line(error: LexLIPError) -> str:
    """What it says, as one line of valid text; of what it quotes from a file, no more than a screen shows."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_MESSAGE:
        text = f"{text[: _LONGEST_MESSAGE // 2]} … {text[-_LONGEST_MESSAGE // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode()


#: Exit status after Ctrl-C, as shells have it.
INTERRUPTED = 130


@contextmanager
def second_interrupt_ends() -> Iterator[None]:
    """While the block runs, the first interrupt raises KeyboardInterrupt and the next ends the process on the spot.

    For work that is safe to be killed: the block's clean-up may take as long as a batch does, or hang with a disk.
    Where somebody else handles interrupts, or ignores them, nothing is changed.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _first)
    try:
        yield
    finally:
        # After a first interrupt the process is on its way out, and the next one is still the second.
        if signal.getsignal(signal.SIGINT) is _first:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _first(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, _second)
    signal.default_int_handler(number, frame)


def _second(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  (as a handler is called)
    os._exit(INTERRUPTED)


def refuse_existing(file: Path | None) -> None:
    """Say so before minutes of work, not after them.

    Raises:
        OutputError: the file exists, or its folder does not.
    """
    if file is not None:
        from lexlip_infer.files import check_new_path

        check_new_path(file)


class DefaultCommandGroup(TyperGroup):
    """The command that was registered first runs where the first word is neither a command nor a call for help.

    A file with the name of a command is given as `./NAME`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front of what is its own.

        Raises:
            InputError: the first word is no file, and nearly the name of a command.
        """
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            meant = get_close_matches(args[0], self.commands, n=1)
            if meant and not Path(args[0]).exists():
                raise InputError(f"{args[0]}: no such command, and no such file; did you mean {meant[0]}?")
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
