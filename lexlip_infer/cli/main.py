"""`lexlip`: everything around an encoded collection. A command's module is loaded when it is called, or listed."""

from __future__ import annotations

import importlib
from typing import Any, cast

import typer
from typer.core import TyperGroup

from lexlip_infer.cli.shell import Version, application, run_application

#: Name of each command, its module in this package, and what that calls it.
_COMMANDS = {
    "encode": ("encode", "encode"),
    "index": ("index", "index"),
    "search": ("search", "search"),
    "inspect": ("inspect", "inspect"),
    "calibrate": ("calibrate", "calibrate"),
    "check": ("check", "check"),
    "convert": ("convert", "convert"),
    "bench": ("bench", "bench"),
    "cloud": ("cloud", "cloud"),
    "doctor": ("doctor", "doctor"),
    "eval": ("evaluate", "app"),
}


class _Commands(TyperGroup):
    """Commands by name, so that one of them need not wait for the modules of the others."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = cast("dict[str, Any]", dict.fromkeys(_COMMANDS))  # whose names alone are looked at

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        """Load a command; nothing where there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        found = getattr(importlib.import_module(f"lexlip_infer.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            command, found = found, application("")
            found.command(cmd_name)(command)
        loaded = typer.main.get_command(found)
        loaded.name = cmd_name
        return loaded


app = application("LexLIP: sparse image search on an inverted index.", _Commands)


@app.callback()
def lexlip(version: Version = False) -> None:
    """Everything that stands before the name of a command."""


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip")
