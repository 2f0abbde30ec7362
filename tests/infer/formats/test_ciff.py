"""CIFF by the protobuf runtime from the public schema, and from several runs."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lexlip_infer.formats import ciff
from lexlip_infer.formats.protobuf import pairs_field

Documents = dict[str, dict[int, int]]

#: CommonIndexFileFormat.proto, by message: (name, number, type) with int32 = 5, int64 = 3, double = 1, string = 9.
SCHEMA = {
    "Header": [
        ("version", 1, 5), ("num_postings_lists", 2, 5), ("num_docs", 3, 5), ("total_postings_lists", 4, 5),
        ("total_docs", 5, 5), ("total_terms_in_collection", 6, 3), ("average_doclength", 7, 1), ("description", 8, 9),
    ],
    "Posting": [("docid", 1, 5), ("tf", 2, 5)],
    "PostingsList": [("term", 1, 9), ("df", 2, 3), ("cf", 3, 3), ("postings", 4, 11)],
    "DocRecord": [("docid", 1, 5), ("collection_docid", 2, 9), ("doclength", 3, 5)],
}  # fmt: skip


@pytest.fixture(scope="module")
def messages() -> dict[str, Any]:
    """Message classes of the schema."""
    reason = "protobuf is not installed: pip install 'lexlip-infer[formats]'"
    descriptors = pytest.importorskip("google.protobuf.descriptor_pb2", reason=reason)
    pools = pytest.importorskip("google.protobuf.descriptor_pool", reason=reason)
    factory = pytest.importorskip("google.protobuf.message_factory", reason=reason)
    file = descriptors.FileDescriptorProto(name="ciff_under_test.proto", package="ciff", syntax="proto3")
    for message, fields in SCHEMA.items():
        descriptor = file.message_type.add(name=message)
        for name, number, kind in fields:
            repeated = {"label": 3, "type_name": ".ciff.Posting"} if kind == 11 else {"label": 1}
            descriptor.field.add(name=name, number=number, type=kind, **repeated)
    pool = pools.DescriptorPool()
    pool.Add(file)
    return {name: factory.GetMessageClass(pool.FindMessageTypeByName(f"ciff.{name}")) for name in SCHEMA}


def parse(data: bytes, messages: dict[str, Any]) -> tuple[Any, list[Any], list[Any]]:
    """Every message, after comparing its bytes with those of the runtime."""
    stream = io.BytesIO(data)

    def one(name: str) -> Any:
        from google.protobuf.internal.decoder import _DecodeVarint32  # type: ignore[attr-defined]

        start = stream.tell()
        size, length = _DecodeVarint32(stream.read(5), 0)
        stream.seek(start + length)
        raw = stream.read(size)
        message = messages[name].FromString(raw)
        assert message.SerializeToString(deterministic=True) == raw
        return message

    header = one("Header")
    lists = [one("PostingsList") for _ in range(header.num_postings_lists)]
    records = [one("DocRecord") for _ in range(header.num_docs)]
    assert stream.read() == b""
    return header, lists, records


def test_public_schema(
    messages: dict[str, Any], write: Callable[..., bytes], documents: Documents, vocabulary: Any
) -> None:
    header, lists, records = parse(write("ciff", documents), messages)
    total = sum(sum(vector.values()) for vector in documents.values())
    used = {vocabulary.terms[term] for vector in documents.values() for term in vector}
    assert (header.version, header.num_docs, header.total_docs) == (1, 6, 6)
    assert header.total_postings_lists == len(lists) == len(used)
    assert header.total_terms_in_collection == total
    assert header.average_doclength == total / 6
    assert [entry.term for entry in lists] == sorted(used)
    assert [(record.docid, record.collection_docid) for record in records] == list(enumerate(documents))
    assert [record.doclength for record in records] == [sum(vector.values()) for vector in documents.values()]
    found: Documents = {name: {} for name in documents}
    for entry in lists:
        assert (entry.df, entry.cf) == (len(entry.postings), sum(posting.tf for posting in entry.postings))
        numbers = np.cumsum([posting.docid for posting in entry.postings]).tolist()
        for number, posting in zip(numbers, entry.postings, strict=True):
            found[records[number].collection_docid][vocabulary.ids[entry.term]] = posting.tf
    assert found == documents


def test_empty(messages: dict[str, Any], write: Callable[..., bytes]) -> None:
    header, lists, records = parse(write("ciff", {}), messages)
    assert (header.num_docs, header.average_doclength, lists, records) == (0, 0.0, [], [])


def test_several_runs(write: Callable[..., bytes], documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"{name} {copy}": vector for copy in range(300) for name, vector in documents.items()}
    whole = write("ciff", many)
    monkeypatch.setattr(ciff, "RUN", 20)
    monkeypatch.setattr(ciff, "_BLOCK", 7)
    monkeypatch.setattr("lexlip_infer.formats.spool._IN_MEMORY", 100)
    assert write("ciff", many, 7) == whole


def test_postings_of_every_width(messages: dict[str, Any]) -> None:
    edges = [n for bits in (7, 14, 21, 28, 31) for n in (2**bits - 1, 2**bits) if n < 2**31]
    gaps = np.array([0, *edges, 0, 1], np.int64)
    impacts = np.array([1, *reversed(edges), 2**31 - 1, 128], np.int64)
    expected = messages["PostingsList"]()
    for gap, impact in zip(gaps.tolist(), impacts.tolist(), strict=True):
        expected.postings.add(docid=gap, tf=impact)
    assert pairs_field(4, gaps, impacts) == expected.SerializeToString()
    nothing = np.zeros(0, np.int64)
    assert pairs_field(4, nothing, nothing) == b""
