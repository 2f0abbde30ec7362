"""Reading impact vectors back: what is accepted, what is refused, and that messages name file and line."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.impacts import read_json_lines, read_vectors

if TYPE_CHECKING:
    from pathlib import Path

TERMS = {"a": 0, "b": 1, "c": 2}
GOOD = b'{"id":"d","contents":"","vector":{"a":1}}\n'


def test_any_order_of_terms_and_keys() -> None:
    ids, matrix = read_json_lines([b'{"vector": {"c": 3, "a": 1}, "id": "x"}', b'{"id": 42, "vector": {}}'], TERMS)
    assert ids == ["x", "42"]
    assert matrix.indptr.tolist() == [0, 2, 2]
    assert matrix.indices.tolist() == [0, 2]
    assert matrix.impacts.tolist() == [1, 3]
    assert matrix.vocab_size == 3


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
        (b'{"id":"x","vector":{"a":0}}', "term 'a' has impact 0; expected an integer"),
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


def test_folder_in_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "part-00010.jsonl").write_bytes(GOOD.replace(b'"d"', b'"third"'))
    (tmp_path / "part-00002.jsonl.gz").write_bytes(gzip.compress(GOOD.replace(b'"d"', b'"second"')))
    (tmp_path / "part-00001.jsonl").write_bytes(GOOD + GOOD)
    (tmp_path / "other.jsonl").write_bytes(b"not ours")
    shards = list(read_vectors(tmp_path, TERMS))
    assert [ids for ids, _ in shards] == [["d", "d"], ["second"], ["third"]]
    assert [len(matrix) for _, matrix in shards] == [2, 1, 1]


def test_line_separators_inside_a_string(tmp_path: Path) -> None:
    (tmp_path / "part-0.jsonl").write_bytes(GOOD.replace(b'"d"', '"\u2028\u0085"'.encode()))
    assert [ids for ids, _ in read_vectors(tmp_path, TERMS)] == [["\u2028\u0085"]]


def test_shards_are_read_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "part-0.jsonl").write_bytes(GOOD)
    (tmp_path / "part-1.jsonl").write_bytes(b"{")
    shards = read_vectors(tmp_path, TERMS)
    assert next(shards)[0] == ["d"]
    with pytest.raises(InputError, match=r"part-1\.jsonl, line 1: "):
        next(shards)


def test_folder_without_shards(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder of impact vectors"):
        next(read_vectors(tmp_path / "missing", TERMS))


@pytest.mark.parametrize("content", [GOOD, gzip.compress(GOOD)[:-12], gzip.compress(GOOD)[:12] + b"\xff" * 20])
def test_damaged_gzip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part-0.jsonl.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"part-0\.jsonl\.gz: cannot be read to its end"):
        list(read_vectors(tmp_path, TERMS))
