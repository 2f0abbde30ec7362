"""Braces and wildcards as shells and webdataset know them, for places that no shell expands; and the walk they steer.

A walk sees every file below a folder, one directory in memory at a time, in an order that depends on nothing but the
names.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lexlip_infer.inputs.readers.places import Kind, Place

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")

#: Names that one spec may stand for.
_MOST = 1_000_000


def expand_braces(spec: str) -> list[str]:
    """`shards/{000..002}.tar` and `{a,b}/*.jpg` written out, in order; leading zeros are kept.

    Raises:
        InputError: it stands for more than a million names.
    """
    pieces = _BRACES.split(spec)  # text, inside of braces, text, ...
    choices = [_choices(piece, spec) if i % 2 else [piece] for i, piece in enumerate(pieces)]
    total = 1
    for choice in choices:
        total *= len(choice)
    _check(total, spec)
    return ["".join(combination) for combination in itertools.product(*choices)]


def _choices(inside: str, spec: str) -> list[str]:
    match = _RANGE.fullmatch(inside)
    if not match:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = match.groups()
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    step = 1 if int(first) <= int(last) else -1
    _check(abs(int(last) - int(first)) + 1, spec)
    return [str(number).zfill(width) for number in range(int(first), int(last) + step, step)]


def _check(count: int, spec: str) -> None:
    if count > _MOST:
        raise InputError(f"{spec}: stands for {count:,} names; at most {_MOST:,} are read")


def has_wildcard(spec: str) -> bool:
    """Whether a spec has *, ? or [ in it; in a web address, ? is none."""
    wildcards = "*[" if spec.lower().startswith(("http://", "https://")) else "*?["
    return any(character in spec for character in wildcards)


def split_pattern(spec: str) -> tuple[str, tuple[str, ...]]:
    """The folder before the first component with a wildcard, and the components from there on."""
    parts = spec.split("/")
    first = next(i for i in range(len(parts)) if has_wildcard("/".join(parts[: i + 1])))
    base = "/".join(parts[:first])
    if first and not base:
        base = "/"
    return base or ".", tuple(part for part in parts[first:] if part)


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches; `**` stands for any number of folders, every other component for one."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return matches(parts, pattern[1:]) or (bool(parts) and matches(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def leads_to_match(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether something below this folder can match: others need not be listed."""
    if not parts:
        return bool(pattern)
    if not pattern:
        return False
    return pattern[0] == "**" or (fnmatchcase(parts[0], pattern[0]) and leads_to_match(parts[1:], pattern[1:]))


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk came by.

    Attributes:
        path: below the root, with `/`.
        place: where it is.
        kind: "file" or "other"; folders are walked into.
    """

    path: str
    place: Place
    kind: Kind


def walk(root: Place, pattern: tuple[str, ...] | None = None) -> Iterator[Found]:
    """Whatever is not a folder, sorted by code points of the whole path.

    Args:
        root: a folder.
        pattern: see `matches`; everything when absent.

    Hidden files and folders are passed over, links to folders are not followed.

    Raises:
        InputError: a folder cannot be read.
    """
    open_folders = [_sorted(root, "")]
    while open_folders:
        found = next(open_folders[-1], None)
        if found is None:
            open_folders.pop()
        elif found.kind != "folder":
            if pattern is None or matches(found.path.split("/"), pattern):
                yield found
        elif pattern is None or leads_to_match(found.path.split("/"), pattern):
            open_folders.append(_sorted(found.place, f"{found.path}/"))


def _sorted(folder: Place, prefix: str) -> Iterator[Found]:
    # Names alone are held: a folder may have a million. With its slash a folder's name sorts among its neighbours as
    # the paths below it do: "a-1" < "a/b" < "a0".
    names, others = list[str](), set[str]()
    for name, kind in folder.entries():
        if not name.startswith("."):
            names.append(name + "/" * (kind == "folder"))
            if kind == "other":
                others.add(name)
    names.sort()
    for name in names:
        plain = name.removesuffix("/")
        kind = "folder" if name != plain else "other" if name in others else "file"
        yield Found(prefix + plain, folder.child(plain), kind)
