"""The byte writer against `json.dumps` and orjson, byte by byte, and read back."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import InputError
from lexlip_infer.impacts import JsonLinesWriter, read_json_lines
from lexlip_infer.impacts.terms import SEPARATOR
from lexlip_kernels.impact_matrix import ImpactMatrix

if TYPE_CHECKING:
    from collections.abc import Sequence

Documents = list[dict[int, int]]

# Lengths around multiples of the kernel's chunk of 16 bytes: a term takes three more, for quotes and colon.
TERMS = [
    "the",
    "##ing",
    '"',
    "\\",
    "é",
    "日本語",
    "😀😀",
    "[PAD]",
    *("x" * n for n in range(11, 32)),
    "y" * 255,
]
AWKWARD_IDS = [
    '"',
    "\\",
    "\x00\x1f\n\r\t\x08\x0c",
    "\x7f",
    "\u2028\u2029",
    "😀",
    "\ufeff",
    "",
    "a/b c.jpg",
    "é" * 99,
]


def matrix_of(documents: Documents, vocab_size: int) -> ImpactMatrix:
    rows = [sorted(document.items()) for document in documents]
    return ImpactMatrix(
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array([term for row in rows for term, _ in row], np.int32),
        np.array([impact for row in rows for _, impact in row], np.int32),
        vocab_size,
    )


def as_objects(ids: Sequence[str], documents: Documents, terms: Sequence[str]) -> list[dict[str, object]]:
    return [
        {
            "id": name,
            "contents": "",
            "vector": {terms[term]: impact for term, impact in sorted(vector.items())},
        }
        for name, vector in zip(ids, documents, strict=True)
    ]


def with_json(objects: list[dict[str, object]]) -> bytes:
    lines = [json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in objects]
    return "".join(lines).encode()


def with_orjson(objects: list[dict[str, object]]) -> bytes:
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in objects)


def assert_encodes(terms: Sequence[str], ids: Sequence[str], documents: Documents) -> None:
    found = JsonLinesWriter(terms).encode(ids, matrix_of(documents, len(terms)))
    objects = as_objects(ids, documents, terms)
    assert type(found) is bytes
    assert found == with_json(objects)
    assert found == with_orjson(objects)


unicode = st.characters(exclude_categories=["Cs"])
some_terms = st.lists(
    st.text(unicode, min_size=1, max_size=40).filter(lambda term: not SEPARATOR.search(term)),
    min_size=1,
    max_size=12,
    unique=True,
)
impacts = st.one_of(st.integers(1, 300), st.integers(1, 70_000), st.integers(1, 2**31 - 1))


@settings(deadline=None, max_examples=200)
@given(data=st.data(), terms=some_terms)
def test_equals_json_and_orjson(data: st.DataObject, terms: list[str]) -> None:
    documents = data.draw(st.lists(st.dictionaries(st.integers(0, len(terms) - 1), impacts), max_size=5))
    names = st.one_of(st.text(unicode, max_size=50), st.sampled_from(AWKWARD_IDS))
    ids = data.draw(st.lists(names, min_size=len(documents), max_size=len(documents)))
    assert_encodes(terms, ids, documents)


def test_every_length_of_term_and_id() -> None:
    ids = [*AWKWARD_IDS, *("i" * n for n in range(40))]
    documents = [{term: 1 for term in range(len(TERMS)) if (term + row) % 3} for row in range(len(ids))]
    assert_encodes(TERMS, ids, documents)


def test_every_number_of_digits() -> None:
    edges = [10**n + step for n in range(1, 10) for step in (-1, 0, 1)]
    values = [1, *edges, 65535, 2**31 - 1]
    assert_encodes(["a", "b"], [str(value) for value in values], [{0: value, 1: 1} for value in values])


@pytest.mark.parametrize("documents", [[], [{}], [{}, {0: 5}, {}], [{0: 99_999}, {}]])
def test_empty(documents: Documents) -> None:
    assert_encodes(["only"], [f"d{i}" for i in range(len(documents))], documents)


def test_realistic_size() -> None:
    rng = np.random.default_rng(7)
    terms = [f"##t{i}" if i % 5 == 0 else f"term{i}" for i in range(3000)]
    documents = [
        dict.fromkeys(rng.choice(len(terms), 64, replace=False).tolist(), int(rng.integers(1, 400))) for _ in range(100)
    ]
    assert_encodes(terms, [f"val2014/{i:012d}.jpg" for i in range(100)], documents)


def test_reads_back() -> None:
    ids = [*AWKWARD_IDS, "last"]
    matrix = matrix_of([{row: row + 1, len(TERMS) - 1: 70_000 + row} for row in range(len(ids))], len(TERMS))
    lines = io.BytesIO(JsonLinesWriter(TERMS).encode(ids, matrix))
    found_ids, found = read_json_lines(lines, {term: i for i, term in enumerate(TERMS)})
    assert found_ids == ids
    assert found.vocab_size == matrix.vocab_size
    for name in ("indptr", "indices", "impacts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(matrix, name))


def test_read_only_arrays() -> None:
    matrix = matrix_of([{0: 1}], 1)
    for array in (matrix.indptr, matrix.indices, matrix.impacts):
        array.setflags(write=False)
    assert JsonLinesWriter(["a"]).encode(["d"], matrix) == b'{"id":"d","contents":"","vector":{"a":1}}\n'


@pytest.mark.parametrize("bad", ["caf\udce9.jpg", "\ud83d\ude00", 7, None])
def test_refuses_ids(bad: str) -> None:
    with pytest.raises(InputError, match=r"document id .* \(row 1\) is not valid Unicode") as caught:
        JsonLinesWriter(["a"]).encode(["good 😀", bad, "good"], matrix_of([{}, {}, {}], 1))
    assert repr(bad) in str(caught.value)
    str(caught.value).encode()  # the message itself must be printable


def test_refuses_counts() -> None:
    with pytest.raises(InputError, match="1 document ids for 2 rows of impacts; expected one id per row"):
        JsonLinesWriter(["a"]).encode(["d"], matrix_of([{}, {}], 1))


def test_refuses_other_vocabulary() -> None:
    with pytest.raises(InputError, match="over 2 terms, the writer's vocabulary has 1"):
        JsonLinesWriter(["a"]).encode(["d"], matrix_of([{}], 2))


@pytest.mark.parametrize(
    ("indptr", "indices", "impacts", "message"),
    [
        ([0, 1], [3], [1], r"must lie in \[0, 3\)"),
        ([0, 1], [-1], [1], r"must lie in \[0, 3\)"),
        ([0, 2], [1, 1], [1, 1], "strictly ascending"),
        ([0, 2], [2, 0], [1, 1], "strictly ascending"),
        ([0, 1], [0], [0], "at least 1"),
        ([0, 1], [0], [-5], "at least 1"),
    ],
)
def test_refuses_broken_matrix(indptr: list[int], indices: list[int], impacts: list[int], message: str) -> None:
    matrix = ImpactMatrix(np.array(indptr), np.array(indices, np.int32), np.array(impacts, np.int32), 3)
    with pytest.raises(InputError, match=message):
        JsonLinesWriter(["a", "b", "c"]).encode(["d"] * len(matrix), matrix)


def test_refuses_offsets_that_changed_since() -> None:
    matrix = ImpactMatrix(np.array([0, 1, 1]), np.array([0], np.int32), np.array([1], np.int32), 3)
    matrix.indptr[1] = 1000
    with pytest.raises(InputError, match="must not decrease"):
        JsonLinesWriter(["a", "b", "c"]).encode(["d"] * 2, matrix)
