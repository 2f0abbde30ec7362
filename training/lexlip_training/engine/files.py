"""Configuration files: TOML by path, or by the name of one that ships with the package.

Values given on the command line win over the file's. What is wrong is told with file and key, in one line.
"""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pydantic

from lexlip_kernels.errors import InputError
from lexlip_training.engine.settings import TrainingConfig

__all__ = ["load_config", "shipped_configs"]


def shipped_configs() -> list[str]:
    """Names of the configurations in the package, sorted."""
    folder = resources.files("lexlip_training") / "configs"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load_config(name: str, overrides: list[str] | None = None) -> TrainingConfig:
    """Read and validate a configuration.

    Args:
        name: of a shipped one, or the path of a .toml (or of a run's config.json).
        overrides: `section.key=value`, the value as TOML writes it; a bare word is a string.

    Raises:
        InputError: there is no such file, or it is no TOML, or a key or value is wrong.
    """
    values = _read(name)
    for override in overrides or []:
        _apply(values, override)
    try:
        return TrainingConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise InputError(f"{name}: {_first(error)}") from None


def _read(name: str) -> dict[str, Any]:
    try:
        if name in shipped_configs():
            text = (resources.files("lexlip_training") / "configs" / f"{name}.toml").read_text("utf-8")
        elif not Path(name).suffix and not Path(name).exists():
            raise InputError(f"no configuration is called {name!r}; there are {', '.join(shipped_configs())}")
        else:
            text = Path(name).read_text("utf-8")
        values: dict[str, Any] = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: not a readable configuration ({error})") from None
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and name):
        raise InputError(f"--set {override}: expected section.key=value, for example --set schedule.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table = values.setdefault(section, {})
    for part in name.split(".")[:-1]:
        table = table.setdefault(part, {})
    table[name.split(".")[-1]] = None if value == "none" else value


def _first(error: pydantic.ValidationError) -> str:
    """The first problem: its key, what was given, what was expected."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; docs/training.md says where the keys of each section stand"
    if problem["type"] == "missing":
        return f"{key!r} is missing"
    given = "" if isinstance(problem["input"], dict) else f", {problem['input']!r} was given"
    return f"{key!r}: {problem['msg'].removeprefix('Value error, ')}{given}"
