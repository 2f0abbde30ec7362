"""What a model card tells beside what model and training record say: measurements, and what its makers write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexlip_infer.files import MOST_JSON, read_json, read_regular
from lexlip_kernels.errors import InputError

_PICTURE = re.compile(r"!\[[^]]*\]\(([^)\s]+)\)")
_PICTURE_KINDS = (".jpg", ".jpeg", ".png", ".svg", ".webp")
_MOST_PICTURE = 4 << 20


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card tells beside what model and record say.

    Attributes:
        evaluations: what `lexlip eval --json` printed, by the name of the data.
        words: a model's entry in the report of `benchmarks/words_of_images.py`, and the name of its data, or nothing.
        about: Markdown by people: what the model is for, and where it fails.
        pictures: files that `about` shows, by name.
    """

    evaluations: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    words: tuple[str, dict[str, Any]] | None = None
    about: str = ""
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def read_facts(evaluations: Iterable[str], words: Path | None, about: Path | None) -> CardFacts:
    """The facts in files.

    Args:
        evaluations: outputs of `lexlip eval --json`, each FILE or NAME=FILE; a name is else the folder of the data.
        words: report of `benchmarks/words_of_images.py`, of which the first model is taken.
        about: Markdown, which may show pictures that lie beside it.

    Raises:
        InputError: one of them cannot be read, or is something else.
    """
    named = dict(_evaluation(given) for given in evaluations)
    text, pictures = ("", {}) if about is None else _about(about)
    return CardFacts(named, None if words is None else _words(words), text, pictures)


def _evaluation(given: str) -> tuple[str, dict[str, Any]]:
    name, _, file = ("", "", given) if Path(given).exists() else given.rpartition("=")
    figures = _object(Path(file), "the output of lexlip eval --json")
    return name or f"{figures.get('data', 'data')}, {figures.get('split', 'all')}", figures


def _words(path: Path) -> tuple[str, dict[str, Any]]:
    report = _object(path, "a report of benchmarks/words_of_images.py")
    try:
        return report["data"], report["results"][0]
    except (KeyError, IndexError, TypeError):
        raise InputError(f"{path}: not a report of benchmarks/words_of_images.py (it has no data or results)") from None


def _object(path: Path, expected: str) -> dict[str, Any]:
    def refuse(reason: str) -> InputError:
        return InputError(f"{path}: not {expected} ({reason})")

    try:
        found = read_json(path, refuse=refuse)
    except OSError as error:
        raise refuse(str(error.strerror)) from None
    if not isinstance(found, dict):
        raise refuse("no JSON object")
    return found


def _about(path: Path) -> tuple[str, dict[str, bytes]]:
    text = _bytes(path, MOST_JSON, "a text in Markdown")
    try:
        about = text.decode()
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; expected a text in Markdown") from None
    names = [name for name in dict.fromkeys(_PICTURE.findall(about)) if "://" not in name]
    for name in names:
        if Path(name).name != name or not name.lower().endswith(_PICTURE_KINDS):
            raise InputError(f"{path}: shows {name}; expected pictures beside the text, without a folder")
    return about, {
        name: _bytes(path.parent / name, _MOST_PICTURE, f"a picture that {path.name} shows") for name in names
    }


def _bytes(path: Path, most: int, expected: str) -> bytes:
    try:
        return read_regular(path, most, refuse=lambda reason: InputError(f"{path}: {reason}; expected {expected}"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
