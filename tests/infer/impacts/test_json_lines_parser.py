"""The fast parser accepts, refuses and returns what the strict reader does, whatever the bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer import Vocabulary
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import JsonLinesParser, JsonLinesWriter, read_json_lines
from lexlip_kernels import ImpactMatrix

TERMS = ("a", "##ing", 'q"uote', "back\\slash", "é", "日本", "b", "line\nfeed")
VOCABULARY = Vocabulary(TERMS)
PARSER = JsonLinesParser(VOCABULARY)

Outcome = tuple[list[str], list[int], list[int], list[int]] | str


def outcome(parse: bool, data: bytes) -> Outcome:
    try:
        if parse:
            ids, matrix = PARSER.parse(data, "file", 5)
        else:
            ids, matrix = read_json_lines(data.splitlines(keepends=True), VOCABULARY.ids, "file", 5)
    except InputError as error:
        return str(error).split(" (")[0]  # the rest is Python's, and depends on where the line was cut
    return ids, matrix.indptr.tolist(), matrix.indices.tolist(), matrix.impacts.tolist()


GOOD = '{"id":"x/é.jpg","contents":"","vector":{"a":1,"##ing":255}}'.encode()


@pytest.mark.parametrize(
    "line",
    [
        GOOD,
        b'{"id":"x","contents":"","vector":{}}',
        b'{"id": "x", "vector": {"b": 3, "a": 1}}',
        b'{"id":"x","contents":"","vector":{"b":3,"a":1}}',
        b'{"id":"x\\ty","contents":"","vector":{"a":1}}',
        b'{"id":"x","contents":"text","vector":{"a":1}}',
        b'{"id":7,"contents":"","vector":{"a":2147483647}}',
        json.dumps({"id": "x", "contents": "", "vector": {'q"uote': 4}}, separators=(",", ":")).encode(),
        b'{"id":"x","contents":"","vector":{"a":1}} ',
        b'{ "id" : "x" ,\t"contents" : "a b, c" , "vector" : { "b" : 3 , "a" : 1 , "##ing" : 20 } }\r',
        b'{"id": "x", "contents": "", "vector": { }}',
        b'{"id":"x","contents":"","vector":{"b":3,"a":1,"b":2}}',
        b'{"id":"x","vector":{"b":3,"\\u0061":1,"a":2}}',
        b'{"id":"x","contents":"\xff","vector":{"a":1}}',
        b'{"id":"x","contents":"\\x","vector":{"a":1}}',
        b'{"id":"x","contents":null,"vector":{"a":1}}',
        b'{"id":"x","contents":"","vector":{"a":1},"vector":{"b":1}}',
        b'{"id":"x","id":"y","vector":{"a":1}}',
        b'{"id":"x","vector":{"a":1.0}}',
        b'{"id":"x","vector":{"a": 1 2}}',
        b'{"id":"x","vector":{"a" 1}}',
        b'{"id":"x","vector":{,"a":1}}',
        b'{"id":"x","vector":{"a":1,,"b":1}}',
        b'{"id":"x","vector":{"a":1 "b":1}}',
        b"",
        b"{",
        b'{"id":"x","contents":"","vector":{"a":2147483648}}',
        b'{"id":"x","contents":"","vector":{"a":01}}',
        b'{"id":"x","contents":"","vector":{"a":0}}',
        b'{"id":"x","contents":"","vector":{"b":0,"a":3,"##ing":0}}',
        b'{"id":"x","contents":"","vector":{"a":0,"b":1,"a":2}}',
        b'{"id":"x","contents":"","vector":{"a":-0,"b":0}}',
        b'{"id":"x","contents":"","vector":{"a":00}}',
        b'{"id":"x","contents":"","vector":{"zz":0}}',
        b'{"id":"x","contents":"","vector":{"a":-1}}',
        b'{"id":"x","contents":"","vector":{"a":1.5}}',
        b'{"id":"x","contents":"","vector":{"a":}}',
        b'{"id":"x","contents":"","vector":{"a":1,}}',
        b'{"id":"x","contents":"","vector":{"a":1,"a":2}}',
        b'{"id":"x","contents":"","vector":{"zz":1}}',
        b'{"id":"x","contents":"","vector":{"":1}}',
        b'{"id":"x","contents":"","vector":{"a":1}',
        b'{"id":"x","contents":"","vector":{"a":1}}}',
        b'{"id":"x","contents":"","vector":{"a',
        b'{"id":"\xff","contents":"","vector":{"a":1}}',
        b'{"id":"\x01","contents":"","vector":{"a":1}}',
    ],
)
def test_as_the_strict_reader(line: bytes) -> None:
    for data in (line, line + b"\n", GOOD + b"\n" + line + b"\n" + GOOD + b"\n", GOOD + b"\n" + line):
        assert outcome(True, data) == outcome(False, data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) * 2), st.binary(max_size=3), st.integers(0, 3))
def test_any_damage(at: int, inserted: bytes, removed: int) -> None:
    good = GOOD + b"\n" + GOOD
    data = good[:at] + inserted.replace(b"\r", b"") + good[at + removed :]
    if not {0x0B, 0x0C, 0x1C, 0x1D, 0x1E} & set(data):  # where bytes.splitlines does not split either, but be safe
        assert outcome(True, data) == outcome(False, data)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_usual_spellings_need_no_strict_reader(separators: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [{"id": f"{i}", "contents": "a dog", "vector": {"b": i + 1, "a": 3 * (i % 2)}} for i in range(9)]
    data = "".join(json.dumps(document, separators=separators) + "\n" for document in documents).encode()
    expected = outcome(False, data)
    monkeypatch.setattr("lexlip_infer.impacts.json_lines.read_json_lines", None)
    assert outcome(True, data) == expected


SPACED = b'{"id": "x", "contents": "text", "vector": {"b": 3, "a": 1, "##ing": 255}}'


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SPACED) * 2), st.binary(max_size=3), st.integers(0, 3))
def test_any_damage_of_another_spelling(at: int, inserted: bytes, removed: int) -> None:
    good = SPACED + b"\n" + SPACED
    data = good[:at] + inserted.replace(b"\r", b"") + good[at + removed :]
    if not {0x0B, 0x0C, 0x1C, 0x1D, 0x1E} & set(data):
        assert outcome(True, data) == outcome(False, data)


def test_what_the_writer_writes() -> None:
    random = np.random.default_rng(0)
    counts = random.integers(0, len(TERMS) + 1, 200)
    indices = np.concatenate([np.sort(random.permutation(len(TERMS))[:count]) for count in counts]).astype(np.int32)
    impacts = random.integers(1, 70_000, len(indices)).astype(np.int32)
    terms = (*TERMS[:-1], "last")
    matrix = ImpactMatrix(np.concatenate([[0], np.cumsum(counts)]), indices, impacts, len(terms))
    ids = [f'{i}"é\\\t' if i % 3 else f"{i}.jpg" for i in range(200)]
    found, read = JsonLinesParser(Vocabulary(terms)).parse(JsonLinesWriter(terms).encode(ids, matrix))
    assert found == ids
    for name in ("indptr", "indices", "impacts"):
        np.testing.assert_array_equal(getattr(read, name), getattr(matrix, name))
    assert read.vocab_size == len(terms)
