"""Keep Pillow's warnings from the user while we decode, on any number of threads.

Pillow warns about damaged EXIF, odd TIFF tags and sizes above its own mark: no use in a run over a million
files, and a refused image where warnings are errors. `warnings.catch_warnings` saves and restores the whole
filter list and loses entries when threads overlap. Here one entry, for Pillow's modules only, is put in
front while somebody decodes, and nothing else of the interpreter's state is touched.
"""

from __future__ import annotations

import re
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["silenced"]

_ENTRY = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_lock = threading.Lock()
_inside = 0


@contextmanager
def silenced() -> Iterator[None]:
    """No warning is issued from within Pillow while at least one thread is in here."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _filters() -> list[Any]:
    # Looked up each time: a test runner or the user may have put another list in place.
    return cast("list[Any]", warnings.filters)


def _enter() -> None:
    global _inside  # noqa: PLW0603  (the filter list is global, so is the count of its users)
    with _lock:
        _inside += 1
        if not _filters() or _filters()[0] is not _ENTRY:
            _filters().insert(0, _ENTRY)


def _leave() -> None:
    global _inside  # noqa: PLW0603
    with _lock:
        _inside -= 1
        while not _inside and _ENTRY in _filters():
            _filters().remove(_ENTRY)
