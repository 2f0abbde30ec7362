"""Every file below a folder, one directory in memory at a time, in an order that depends on nothing but the names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexlip_infer.inputs.readers.patterns import leads_to_match, matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.inputs.readers.places import Kind, Place

__all__ = ["Found", "walk"]


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
        pattern: see `patterns.matches`; everything when absent.

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
