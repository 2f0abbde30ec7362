"""A group of commands one of which needs no name: `lexlip eval FILE` is `lexlip eval retrieval FILE`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

__all__ = ["DefaultCommandGroup"]


class DefaultCommandGroup(TyperGroup):
    """The command that was registered first runs where the first word is neither a command nor a call for help.

    A file with the name of a command is given as `./NAME`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front of what is its own."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
