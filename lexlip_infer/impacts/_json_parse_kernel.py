"""Numba kernel that reads the JSON lines which `lexlip-encode` writes; loads numba, so import it in functions only.

It knows one spelling of a document, the one of `JsonLinesWriter`, and stops at the first line that is spelt in any
other way. Whoever calls it reads that line with the strict reader, which also has the words for what is wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lexlip_infer.impacts._compiled import compiled
from lexlip_infer.impacts._packed import Packed

__all__ = ["Bytes", "fill_table", "parse_lines"]

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

QUOTE, BACKSLASH, COMMA, BRACE, LINE_FEED, ZERO = 34, 92, 44, 125, 10, 48
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
def parse_posting(text: Bytes, at: int, terms: Packed, table: Ints) -> tuple[int, int, int]:
    """Term, impact and what follows `"term":12`; term -1 where it reads otherwise."""
    end = -1
    if at < len(text) and text[at] == QUOTE:
        end = string_end(text, at + 1)
    if end < 0 or end + 1 >= len(text) or text[end + 1] != 58:
        return -1, 0, at
    term, start = find_term(text, at + 1, end, terms, table), end + 2
    impact, at = 0, start
    while at < len(text) and at - start < 10 and ZERO <= text[at] <= ZERO + 9:
        impact = impact * 10 + int(text[at]) - ZERO
        at += 1
    if at == start or text[start] == ZERO or impact > LARGEST_IMPACT:
        return -1, 0, at
    return term, impact, at


@compiled
def parse_vector(
    text: Bytes, at: int, terms: Packed, table: Ints, indices: Ints, impacts: Ints, count: int
) -> tuple[int, int]:
    """The postings up to the end of the line: where the next line begins (-1 if it reads otherwise), their number."""
    previous = -1
    empty = at < len(text) and text[at] == BRACE
    while not empty:
        term, impact, at = parse_posting(text, at, terms, table)
        if term <= previous or at >= len(text):
            return -1, count
        indices[count], impacts[count], previous = term, impact, term
        count += 1
        if text[at] != COMMA:
            break
        at += 1
    if at + 2 >= len(text) or text[at] != BRACE or text[at + 1] != BRACE or text[at + 2] != LINE_FEED:
        return -1, count
    return at + 3, count


@compiled
def parse_lines(
    text: Bytes,
    at: int,
    row: int,
    frame: Packed,
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
        frame: what stands before the id, and between id and vector.
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
        start = at + frame.starts[1] - 1
        if not matches(text, at, frame.text, 0, frame.starts[1] - 1):
            break
        end = start
        while end < len(text) and text[end] != QUOTE and text[end] != BACKSLASH and text[end] >= 32:
            end += 1
        if not matches(text, end, frame.text, frame.starts[1], frame.starts[2] - 1):
            break
        vector = end + frame.starts[2] - 1 - frame.starts[1]
        after, count = parse_vector(text, vector, terms, table, indices, impacts, indptr[row])
        if after < 0:
            break
        spans[row, 0], spans[row, 1], indptr[row + 1] = start, end, count
        at, row = after, row + 1
    return at, row
