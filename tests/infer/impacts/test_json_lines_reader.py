"""Reading impact vectors back: what is accepted, what is refused, and that messages name file and line."""

from __future__ import annotations

import io
import re

import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.impacts import read_json_lines

TERMS = {"a": 0, "b": 1, "c": 2}
GOOD = b'{"id":"d","contents":"","vector":{"a":1}}\n'


def test_any_order_of_terms_and_keys() -> None:
    ids, matrix = read_json_lines([b'{"vector": {"c": 3, "a": 1}, "id": "x"}', b'{"id": 42, "vector": {}}'], TERMS)
    assert ids == ["x", "42"]
    assert matrix.indptr.tolist() == [0, 2, 2]
    assert matrix.indices.tolist() == [0, 2]
    assert matrix.impacts.tolist() == [1, 3]
    assert matrix.vocab_size == 3


def test_zeros_are_left_out() -> None:
    """Published collections hold them; they change no score."""
    _, matrix = read_json_lines([b'{"id":"x","vector":{"c":0,"b":70,"a":0}}', b'{"id":"y","vector":{"a":0}}'], TERMS)
    assert matrix.indptr.tolist() == [0, 1, 1]
    assert (matrix.indices.tolist(), matrix.impacts.tolist()) == ([1], [70])


@pytest.mark.parametrize(
    ("impact", "advice"),
    [
        ("3.0", "write whole numbers without a point"),
        ("0.7", "quantise the weights first"),
        ("-3", "lexlip check tells what Anserini makes of it"),
    ],
)
def test_advice_fits_the_impact(impact: str, advice: str) -> None:
    with pytest.raises(InputError, match=advice):
        read_json_lines([b'{"id":"x","vector":{"a":%s}}' % impact.encode()], TERMS)


def test_nothing() -> None:
    ids, matrix = read_json_lines([], TERMS)
    assert ids == []
    assert len(matrix) == 0
    assert matrix.vocab_size == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"id":"x","vector":{}}{}', "not valid JSON"),
        (b'{"id":"\xff","vector":{}}', "not valid JSON in UTF-8"),
        (b'{"id":"\xed\xa0\x80","vector":{}}', "not valid JSON in UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (b'["id"]', "a JSON list; expected an object"),
        (b'{"vector":{}}', "the key 'id' is missing"),
        (b'{"id":"x"}', "the key 'vector' is missing"),
        (b'{"id":null,"vector":{}}', "'id' is a JSON NoneType; expected a string"),
        (b'{"id":true,"vector":{}}', "'id' is a JSON bool; expected a string"),
        (b'{"id":"x","vector":[0.5]}', "'vector' is a JSON list; expected an object"),
        (b'{"id":"x","vector":{"z":1}}', "unknown term 'z'"),
        (b'{"id":"x","vector":{"a":1.0}}', "term 'a' has impact 1.0; expected an integer"),
        (b'{"id":"x","vector":{"a":NaN}}', "term 'a' has impact nan; expected an integer"),
        (b'{"id":"x","vector":{"a":0.0}}', "term 'a' has impact 0.0; expected an integer"),
        (b'{"id":"x","vector":{"a":-3}}', "term 'a' has impact -3; expected an integer"),
        (b'{"id":"x","vector":{"a":true}}', "term 'a' has impact True; expected an integer"),
        (b'{"id":"x","vector":{"a":"3"}}', "term 'a' has impact '3'; expected an integer"),
        (b'{"id":"x","vector":{"a":2147483648}}', "term 'a' has impact 2147483648; expected an integer"),
        (b'{"id":"x","vector":{"a":1,"b":1,"a":2}}', "'a' occurs twice"),
        (b'{"id":"x","id":"y","vector":{}}', "'id' occurs twice"),
    ],
)
def test_refuses(line: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^part-7, line 3: .*{re.escape(message)}"):
        read_json_lines([GOOD, GOOD, line], TERMS, source="part-7")


def test_line_separators_inside_a_string() -> None:
    line = GOOD.replace(b'"d"', '"\u2028\u0085"'.encode())
    assert read_json_lines(io.BytesIO(line), TERMS)[0] == ["\u2028\u0085"]
