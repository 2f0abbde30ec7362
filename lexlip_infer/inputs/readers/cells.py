"""Values of rows as ids, whichever format they came in."""

from __future__ import annotations

from lexlip_infer.errors import InputError

__all__ = ["identifier_of", "is_unicode"]


def identifier_of(value: object, column: str) -> str:
    """An id as a string.

    Raises:
        InputError: it is missing, or neither a string nor an integer.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        kind = "missing" if value is None else f"a {type(value).__name__}"
        raise InputError(f'"{column}" is {kind}; expected a string or a number')
    return str(value)


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it: a file name, or JSON, may hold half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
