"""Numba kernel that reads the JSON lines of most writers; loads numba, so import it in functions only.

It knows the keys id, contents (which may be missing) and vector in this order, with or without blanks between them, and
stops at the first line that reads otherwise. Whoever calls it reads that line with the strict reader, which also has
the words for what is wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lexlip_infer.impacts._kernels import compiled
from lexlip_infer.impacts.terms import Packed

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

QUOTE, BACKSLASH, COMMA, COLON, LINE_FEED, ZERO = 34, 92, 44, 58, 10, 48
OPENING, CLOSING = 123, 125
BLANK, TAB, CARRIAGE_RETURN = 32, 9, 13
LARGEST_IMPACT = 2**31 - 1


@compiled
def slot_of(text: Bytes, start: int, end: int, mask: int) -> int:
    """Where a term's search in the table begins: FNV-1a of its bytes."""
    value = np.uint32(2166136261)
    for at in range(start, end):
        value = np.uint32((value ^ np.uint32(text[at])) * np.uint32(16777619))
    return int(np.int64(value ^ (value >> np.uint32(15))) & mask)


@compiled
def matches(text: Bytes, at: int, pattern: Bytes, start: int, end: int) -> bool:
    """Whether `text[at:]` begins with `pattern[start:end]`."""
    if at + end - start > len(text):
        return False
    for offset in range(end - start):  # noqa: SIM110  (numba compiles no generator)
        if text[at + offset] != pattern[start + offset]:
            return False
    return True


@compiled
def fill_table(terms: Packed, table: Ints) -> None:
    """Enter every term, `"dog":` in the packed text, into a table of -1 whose length is a power of two."""
    mask = len(table) - 1
    for term in range(len(terms.starts) - 1):
        # Without the quotes, the colon and the separator.
        slot = slot_of(terms.text, terms.starts[term] + 1, terms.starts[term + 1] - 3, mask)
        while table[slot] >= 0:
            slot = (slot + 1) & mask
        table[slot] = term


@compiled
def string_end(text: Bytes, at: int) -> int:
    """Where the quote stands that ends the string; -1 if the line ends before, or a control character is inside."""
    while at < len(text) and text[at] >= 32:
        if text[at] == QUOTE:
            return at
        at += 2 if text[at] == BACKSLASH else 1
    return -1


@compiled
def find_term(text: Bytes, start: int, end: int, terms: Packed, table: Ints) -> int:
    """The term between two quotes, or -1."""
    mask = len(table) - 1
    slot = slot_of(text, start, end, mask)
    while table[slot] >= 0:
        first, last = terms.starts[table[slot]] + 1, terms.starts[table[slot] + 1] - 3
        if last - first == end - start and matches(text, start, terms.text, first, last):
            return int(table[slot])
        slot = (slot + 1) & mask
    return -1


@compiled
def after(text: Bytes, at: int, character: int) -> int:
    """The place behind blanks and the character; -1 where another follows, or `at` is -1 already."""
    if at < 0:
        return -1
    while at < len(text) and (text[at] == BLANK or text[at] == TAB or text[at] == CARRIAGE_RETURN):
        at += 1
    return at + 1 if at < len(text) and text[at] == character else -1


@compiled
def after_key(text: Bytes, at: int, keys: Packed, key: int) -> int:
    """The place behind a key, with its quotes, and its colon; -1 where something else stands."""
    first = after(text, at, QUOTE)
    if first < 0 or not matches(text, first, keys.text, keys.starts[key], keys.starts[key + 1] - 1):
        return -1
    return after(text, first + keys.starts[key + 1] - 1 - keys.starts[key], COLON)


@compiled
def plain_end(text: Bytes, at: int, largest: int) -> int:
    """Where the quote stands that ends a string of no escapes and no bytes above `largest`; -1 if there is none."""
    if at < 0:
        return -1
    while at < len(text) and 32 <= text[at] <= largest and text[at] != BACKSLASH:
        if text[at] == QUOTE:
            return at
        at += 1
    return -1


@compiled
def parse_posting(text: Bytes, at: int, terms: Packed, table: Ints) -> tuple[int, int, int]:
    """Term, impact and what follows `"term":12`; term -1 where it reads otherwise."""
    first = after(text, at, QUOTE)
    end = string_end(text, first) if first >= 0 else -1
    start = after(text, end + 1, COLON) if end >= 0 else -1
    if start < 0:
        return -1, 0, at
    while start < len(text) and text[start] == BLANK:
        start += 1
    term, impact, at = find_term(text, first, end, terms, table), 0, start
    while at < len(text) and at - start < 10 and ZERO <= text[at] <= ZERO + 9:
        impact = impact * 10 + int(text[at]) - ZERO
        at += 1
    if at == start or (text[start] == ZERO and at > start + 1) or impact > LARGEST_IMPACT:
        return -1, 0, at
    return term, impact, at


@compiled
def sort_postings(indices: Ints, impacts: Ints, start: int, end: int) -> bool:
    """Sort postings by term; whether no term is there twice."""
    keys = np.empty(end - start, np.int64)
    for i in range(end - start):
        keys[i] = (np.int64(indices[start + i]) << 32) | np.int64(impacts[start + i])
    keys.sort()
    for i in range(end - start):
        indices[start + i], impacts[start + i] = keys[i] >> 32, keys[i] & LARGEST_IMPACT
        if i > 0 and indices[start + i] == indices[start + i - 1]:
            return False
    return True


@compiled
def drop_zeros(indices: Ints, impacts: Ints, start: int, end: int) -> int:
    """Leave out postings of impact 0; where the others end."""
    kept = start
    for i in range(start, end):
        if impacts[i] > 0:
            indices[kept], impacts[kept] = indices[i], impacts[i]
            kept += 1
    return kept


@compiled
def parse_vector(
    text: Bytes, at: int, terms: Packed, table: Ints, indices: Ints, impacts: Ints, start: int
) -> tuple[int, int]:
    """The postings up to the end of the line: where the next line begins (-1 if it reads otherwise), their end."""
    previous, ascending, zeros, count = -1, True, False, start
    following = after(text, at, CLOSING)
    while following < 0:
        term, impact, at = parse_posting(text, at, terms, table)
        if term < 0:
            return -1, count
        ascending, zeros = ascending and term > previous, zeros or impact == 0
        indices[count], impacts[count], previous = term, impact, term
        count += 1
        following = after(text, at, CLOSING)
        if following < 0:
            at = after(text, at, COMMA)
            if at < 0:
                return -1, count
    if not ascending and not sort_postings(indices, impacts, start, count):
        return -1, count
    if zeros:
        count = drop_zeros(indices, impacts, start, count)
    return after(text, after(text, following, CLOSING), LINE_FEED), count


@compiled
def parse_lines(
    text: Bytes,
    at: int,
    row: int,
    keys: Packed,
    terms: Packed,
    table: Ints,
    spans: Longs,
    indptr: Longs,
    indices: Ints,
    impacts: Ints,
) -> tuple[int, int]:
    r"""Read lines from `at` on into the rows from `row` on, until one is spelt otherwise or the text ends.

    Args:
        text: lines, each ended by a line feed.
        at: where a line begins.
        row: of that line; `indptr[row]` postings are there already.
        keys: `id"`, `contents"` and `vector"`.
        terms: `"dog":` and so on, by id.
        table: of `fill_table`.
        spans: (N, 2), filled with where an id begins and ends.
        indptr: (N+1,), filled.
        indices: filled.
        impacts: filled.

    Returns:
        Where the first line begins that was not read, and its row.
    """
    while at < len(text):
        start = after(text, after_key(text, after(text, at, OPENING), keys, 0), QUOTE)
        end = plain_end(text, start, 255)
        key = after(text, end + 1, COMMA) if end >= 0 else -1
        contents = after_key(text, key, keys, 1)
        if contents >= 0:
            contents_end = plain_end(text, after(text, contents, QUOTE), 127)
            key = after(text, contents_end + 1, COMMA) if contents_end >= 0 else -1
        vector = after(text, after_key(text, key, keys, 2), OPENING)
        if vector < 0:
            break
        following, count = parse_vector(text, vector, terms, table, indices, impacts, indptr[row])
        if following < 0:
            break
        spans[row, 0], spans[row, 1], indptr[row + 1] = start, end, count
        at, row = following, row + 1
    return at, row
