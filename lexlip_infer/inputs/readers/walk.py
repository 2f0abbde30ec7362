"""Every file below a folder, one directory in memory at a time, in an order that depends on nothing but the names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.inputs.readers.patterns import leads_to_match, matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.inputs.readers.places import Entry, Place

__all__ = ["walk"]


def walk(root: Place, pattern: tuple[str, ...] | None = None) -> Iterator[tuple[str, Entry]]:
    """Path below the root (with `/`) and entry of whatever is not a folder, sorted by code points of the whole path.

    Args:
        root: a folder.
        pattern: see `patterns.matches`; everything when absent.

    Hidden files and folders are passed over, links to folders are not followed.

    Raises:
        InputError: a folder cannot be read.
    """
    open_folders = [_sorted(root, "")]
    while open_folders:
        step = next(open_folders[-1], None)
        if step is None:
            open_folders.pop()
            continue
        path, entry = step
        if not entry.is_folder:
            if pattern is None or matches(path.split("/"), pattern):
                yield step
        elif pattern is None or leads_to_match(path.split("/"), pattern):
            open_folders.append(_sorted(entry.place, f"{path}/"))


def _sorted(folder: Place, prefix: str) -> Iterator[tuple[str, Entry]]:
    # With its slash a folder's name sorts among its neighbours as the paths below it do: "a-1" < "a/b" < "a0".
    entries = [(entry.place.name, entry) for entry in folder.entries() if not entry.place.name.startswith(".")]
    entries.sort(key=lambda pair: pair[0] + "/" * pair[1].is_folder)
    return ((prefix + name, entry) for name, entry in entries)
