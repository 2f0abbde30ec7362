"""What a user wrote after --images or --texts, as places and patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.readers.patterns import expand_braces, has_wildcard, split_pattern
from lexlip_infer.inputs.readers.places import Place, is_url, place_of
from lexlip_infer.inputs.readers.source import Files

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Spec:
    """One place, or the files below it that match a pattern.

    Attributes:
        text: as it was given, braces expanded.
        files: that it names; the place is a folder where `is_folder`.
        is_folder: a folder as a whole.
        first: whether it is the first that its braces made: the others are not looked at ahead of time.
    """

    text: str
    files: Files
    is_folder: bool
    first: bool

    @property
    def base(self) -> Place:
        """The folder that its names start from."""
        return self.files.place if self.is_folder or self.files.pattern is not None else self.files.place.parent

    @property
    def suffix(self) -> str:
        """Of its files, in small letters: ".tar.gz" for a compressed archive, the last one otherwise."""
        name = (self.files.pattern or (self.files.place.name,))[-1].lower()
        suffix = PurePosixPath(name).suffix
        return f".tar{suffix}" if name.endswith(f".tar{suffix}") else suffix


def read_specs(texts: Sequence[str]) -> list[Spec]:
    """Every spec, braces expanded, and prefixes chosen so that names of different roots differ.

    Where all start from one folder, names have no prefix; otherwise each starts with its folder's path, without the
    folders that all have in common.

    Raises:
        InputError: a place does not exist.
    """
    specs = [spec for text in texts for spec in _expand(text)]
    parts = [spec.base.parts for spec in specs]
    common = _common(parts)
    prefixes = ["".join(f"{part}/" for part in each[common:]) for each in parts]
    return [
        replace(spec, files=replace(spec.files, prefix=prefix)) for spec, prefix in zip(specs, prefixes, strict=True)
    ]


def _expand(text: str) -> list[Spec]:
    # A name with brackets or braces in it may simply be one.
    if not is_url(text) and place_of(text).exists():
        return [_spec(text, first=True)]
    first, *others = expand_braces(text)
    head = _spec(first, first=True)
    # Thousands of shards behind a URL are not asked for one by one before the first is read.
    return [head, *(_like(head, other) if is_url(other) else _spec(other, first=False) for other in others)]


def _like(head: Spec, text: str) -> Spec:
    if head.files.pattern is not None:
        return _spec(text, first=False)
    return Spec(text, Files(place_of(text)), head.is_folder, first=False)


def _spec(text: str, first: bool) -> Spec:
    place = place_of(text)
    if has_wildcard(text) and (is_url(text) or not place.exists()):
        base, pattern = split_pattern(text)
        return Spec(text, Files(place_of(base), pattern=pattern), is_folder=False, first=first)
    if not place.exists():
        raise InputError(f"{text}: no such file or folder")
    return Spec(text, Files(place), place.is_folder(), first)


def _common(parts: Sequence[tuple[str, ...]]) -> int:
    """How many leading components all have in common."""
    count = 0
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        count += 1
    return count
