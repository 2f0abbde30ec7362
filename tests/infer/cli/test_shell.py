"""What every command shares: help, version, and how it ends when something outside of it goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.cli import shell
from lexlip_infer.errors import InputError
from lexlip_kernels.impact_dot import ImpactIndex

COMMANDS = ["encode", "search", "inspect", "eval", "doctor"]


def test_counts_have_their_plural() -> None:
    assert [shell.counted(number, "image") for number in (0, 1, 1000)] == ["0 images", "1 image", "1,000 images"]
    assert [shell.counted(number, "query", "queries") for number in (1, 2)] == ["1 query", "2 queries"]


@pytest.mark.parametrize("arguments", [("--version",), ("encode", "--version")])
def test_version(arguments: tuple[str, ...], lexlip: Callable[..., Any]) -> None:
    outcome = lexlip(*arguments)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout == f"lexlip-infer {version('lexlip-infer')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, lexlip: Callable[..., Any]) -> None:
    short, long = lexlip(command, "-h"), lexlip(command, "--help")
    assert short == long
    assert (short.status, short.stderr) == (0, "")
    options = short.stdout.split("Options:")[1]
    assert "<" not in options.replace("<=", "")


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(self: object, *arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ImpactIndex, "search", search)


def test_interrupted(lexlip: Callable[..., Any], encoded: Path, interrupted: None) -> None:
    outcome = lexlip("search", encoded, "a dog")
    assert (outcome.status, outcome.stdout, outcome.stderr) == (130, "", "")


def run(action: Callable[[], None]) -> Any:
    """The status of a command that does this, and nothing of Typer around it."""
    with pytest.raises(SystemExit) as ended:
        shell.run_application(lambda prog_name: action(), "lexlip")  # type: ignore[arg-type]
    return ended.value.code


def test_interrupted_outside_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    def interrupt_a_compiled_module() -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    assert run(interrupt) == 130
    assert run(interrupt_a_compiled_module) == 130
    assert capsys.readouterr() == ("", "")


def test_an_import_that_fails_is_a_bug() -> None:
    def fail() -> None:
        raise ImportError("initialization failed")

    with pytest.raises(ImportError, match="initialization failed"):
        shell.run_application(lambda prog_name: fail(), "lexlip")  # type: ignore[arg-type]


def test_an_error_of_a_file_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        shell.run_application(lambda prog_name: (tmp_path / "none").read_bytes(), "lexlip")  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_stream(
    stream: str, lexlip: Callable[..., Any], encoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python makes of `>&-`."""
    for arguments in (["a dog"], ["a dog", "--json"], ["a dog", "--hits", "0"]):
        with monkeypatch.context() as patch:
            patch.setattr(sys, stream, None)
            outcome = lexlip("search", encoded, *arguments)
            getattr(sys, stream).close()
        assert outcome.status == (2 if "0" in arguments else 0)


def test_a_message_is_no_longer_than_a_screen() -> None:
    said = shell.one_line(InputError("file: " + "x\n" * 10**6 + "; repair it"))
    assert len(said) == 2003
    assert said.startswith("file: x x x")
    assert said.endswith("; repair it")
