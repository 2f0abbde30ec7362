"""A group of commands one of which needs no name: `lexlip eval FILE` is `lexlip eval retrieval FILE`."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from lexlip_infer.errors import InputError

__all__ = ["DefaultCommandGroup"]


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
