"""Every format written, and read by a reader of a few lines that knows nothing of the writer."""

from __future__ import annotations

import io
import json
import struct
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.formats import FORMATS
from lexlip_infer.vocabulary import Vocabulary

Documents = dict[str, dict[int, int]]
Terms = Sequence[str]


def json_lines(data: bytes) -> list[Any]:
    assert not data or data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def by_id(vector: Mapping[str, float], terms: Terms) -> dict[int, int]:
    ids = {term: i for i, term in enumerate(terms)}
    assert all(value == int(value) for value in vector.values())
    return {ids[term]: int(value) for term, value in vector.items()}


def anserini(data: bytes, terms: Terms) -> Documents:
    assert all(line["contents"] == "" for line in json_lines(data))
    return {line["id"]: by_id(line["vector"], terms) for line in json_lines(data)}


def topics(data: bytes, terms: Terms) -> Documents:
    found: Documents = {}
    for line in data.decode().split("\n")[:-1]:
        name, text = line.split("\t")
        found[name] = by_id(Counter(text.split(" ")), terms)
    return found


def npz(data: bytes, terms: Terms) -> Documents:
    import scipy.sparse

    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    matrix = scipy.sparse.load_npz(io.BytesIO(data)).tocsr()
    members = np.load(io.BytesIO(data))
    assert json.loads(members["vocabulary.json"]) == list(terms)
    assert matrix.dtype == np.int32
    ids = json.loads(members["ids.json"])
    assert matrix.shape == (len(ids), len(terms))
    rows = [matrix[[row]].tocoo() for row in range(len(ids))]
    return {
        name: dict(zip(row.col.tolist(), row.data.tolist(), strict=True)) for name, row in zip(ids, rows, strict=True)
    }


def parquet(data: bytes, terms: Terms) -> Documents:
    tables = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'lexlip-infer[io]'")
    rows = tables.read_table(io.BytesIO(data)).to_pylist()
    return {row["id"]: dict(zip(row["indices"], row["values"], strict=True)) for row in rows}


def qdrant(data: bytes, terms: Terms) -> Documents:
    found: Documents = {}
    for request in json_lines(data):
        for point in request["points"]:
            name = point["payload"]["id"]
            assert point["id"] == str(uuid.uuid5(uuid.NAMESPACE_URL, name))
            vector = point["vector"]["lexlip"]
            found[name] = dict(zip(vector["indices"], vector["values"], strict=True))
    return found


def milvus(data: bytes, terms: Terms) -> Documents:
    rows = json.loads(data)["rows"]
    return {row["id"]: {int(term): int(value) for term, value in row["lexlip"].items()} for row in rows}


def bulk(data: bytes, terms: Terms) -> Documents:
    lines = json_lines(data)
    return {
        action["index"]["_id"]: by_id(document["lexlip"], terms)
        for action, document in zip(lines[::2], lines[1::2], strict=True)
    }


def vespa(data: bytes, terms: Terms) -> Documents:
    prefix = "id:lexlip:lexlip::"
    assert all(line["put"].startswith(prefix) for line in json_lines(data))
    return {
        line["put"].removeprefix(prefix): by_id(line["fields"]["lexlip"]["cells"], terms) for line in json_lines(data)
    }


def pgvector(data: bytes, terms: Terms) -> Documents:
    found: Documents = {}
    for line in data.decode().split("\n")[:-1]:
        name, vector = line.split("\t")
        pairs, size = vector.removeprefix("{").split("}/")
        assert int(size) == len(terms)
        entries = [pair.split(":") for pair in pairs.split(",") if pair]
        unescaped = name.replace("\\\\", "\0").replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r")
        found[unescaped.replace("\0", "\\")] = {int(term) - 1: int(impact) for term, impact in entries}
    return found


def seismic(data: bytes, terms: Terms) -> Documents:
    assert all(line["content"] == "" for line in json_lines(data))
    return {line["id"]: by_id(line["vector"], terms) for line in json_lines(data)}


def tei(data: bytes, terms: Terms) -> Documents:
    """Ids are not in it: their position stands for them."""
    rows = json.loads(data)
    return {str(number): {pair["index"]: pair["value"] for pair in row} for number, row in enumerate(rows)}


def ciff(data: bytes, terms: Terms) -> Documents:
    """Decoded from protobuf's wire format by hand."""
    messages = list(_delimited(data))
    header = _fields(messages[0])
    lists, records = messages[1 : 1 + _one(header, 2)], messages[1 + _one(header, 2) :]
    assert len(records) == _one(header, 3)
    found = [dict[int, int]() for _ in records]
    names = []
    for message in lists:
        fields = _fields(message)
        term = terms.index(fields[1][0].decode())
        names.append(fields[1][0])
        document = 0
        for posting in fields[4]:
            parts = _fields(posting)
            document += _one(parts, 1)
            found[document][term] = _one(parts, 2)
        assert _one(fields, 2) == len(fields[4])
    assert names == sorted(names)
    documents = [_fields(record) for record in records]
    assert [_one(record, 1) for record in documents] == list(range(len(records)))
    assert [_one(record, 3) for record in documents] == [sum(vector.values()) for vector in found]
    return {
        record[2][0].decode(): dict(sorted(vector.items())) for record, vector in zip(documents, found, strict=True)
    }


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return number, at


def _delimited(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size, at = _varint(data, at)
        yield data[at : at + size]
        at += size


def _fields(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: Any
        if tag & 7 == 0:
            value, at = _varint(data, at)
        elif tag & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        else:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def _one(fields: dict[int, list[Any]], number: int) -> Any:
    return fields.get(number, [0])[0]


READERS: dict[str, Callable[[bytes, Terms], Documents]] = {
    "anserini": anserini,
    "anserini-topics": topics,
    "npz": npz,
    "parquet": parquet,
    "ciff": ciff,
    "qdrant": qdrant,
    "milvus": milvus,
    "opensearch": bulk,
    "elasticsearch": bulk,
    "vespa": vespa,
    "pgvector": pgvector,
    "seismic": seismic,
    "tei": tei,
}

#: These refuse a document without terms, each with a message of its own; see test_limits.py.
NO_EMPTY = {"anserini", "anserini-topics", "milvus"}


def without_ids(documents: Documents) -> Documents:
    return {str(number): vector for number, vector in enumerate(documents.values())}


def test_every_format_has_a_reader() -> None:
    assert [*READERS, "ids"] == list(FORMATS)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_round_trip(
    name: str, chunk: int, write: Callable[..., bytes], documents: Documents, vocabulary: Vocabulary
) -> None:
    if name == "anserini-topics":
        del documents["placeholder"]  # refused, too
    data = write(name, documents, chunk)
    found = READERS[name](data, vocabulary.terms)
    expected = without_ids(documents) if name == "tei" else documents
    assert list(found) == list(expected)
    assert found == expected
    assert data == write(name, documents, 3)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("count", [0, 1])
def test_few(name: str, count: int, write: Callable[..., bytes], documents: Documents, vocabulary: Vocabulary) -> None:
    some = dict(list(documents.items())[:count])
    found = READERS[name](write(name, some), vocabulary.terms)
    assert found == (without_ids(some) if name == "tei" else some)


@pytest.mark.parametrize("name", sorted(READERS.keys() - NO_EMPTY))
def test_documents_without_terms(name: str, write: Callable[..., bytes], vocabulary: Vocabulary) -> None:
    documents: Documents = {"0": {}, "1": {3: 5}, "2": {}}
    assert READERS[name](write(name, documents), vocabulary.terms) == documents


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_many(name: str, write: Callable[..., bytes]) -> None:
    """More documents than fit a request, with multi-byte numbers of every size that engines take."""
    vocabulary = Vocabulary(tuple(f"t{i}" for i in range(300)))
    rng = np.random.default_rng(1)
    documents: Documents = {
        f"d{i}": {
            int(t): int(rng.integers(1, 2049 if i % 100 == 0 else 200))
            for t in sorted(rng.choice(300, 1 + i % 9, replace=False))
        }
        for i in range(1234)
    }
    data = write(name, documents, 500, vocabulary)
    if name == "ids":
        assert [json.loads(line) for line in data.splitlines()] == list(documents)
        return
    if name == "qdrant":
        assert [len(request["points"]) for request in json_lines(data)] == [100] * 12 + [34]
    assert READERS[name](data, vocabulary.terms) == (without_ids(documents) if name == "tei" else documents)


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"tei"}))
def test_ids_that_are_no_unicode(name: str, write: Callable[..., bytes]) -> None:
    with pytest.raises(InputError, match=r"document( id)? 'b\\udce9a'.* is not valid Unicode"):
        write(name, {"fine": {3: 1}, "b\udce9a": {2: 2}})


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_ids_and_rows_have_to_match(name: str, vocabulary: Vocabulary) -> None:
    from lexlip_infer.formats import FormatSettings
    from lexlip_kernels import ImpactMatrix

    writer = FORMATS[name].open(vocabulary, FormatSettings())
    matrix = ImpactMatrix(np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32), len(vocabulary))
    with pytest.raises(InputError, match="1 document ids for 2 rows"):
        writer.add(["a"], matrix)
    smaller = ImpactMatrix(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32), 3)
    with pytest.raises(InputError, match="over 3 terms, the writer's vocabulary has 15"):
        writer.add(["a"], smaller)


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"anserini-topics", "tei"}))
def test_newlines_and_tabs_in_ids(name: str, write: Callable[..., bytes], vocabulary: Vocabulary) -> None:
    """Where a format can hold them, they come back."""
    documents: Documents = {"a\tb\nc\rd": {3: 1}, "back\\slash\\t": {4: 2}}
    assert READERS[name](write(name, documents), vocabulary.terms) == documents
