"""CIFF by the protobuf runtime from the published schema, and from several runs."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lexlip_infer.formats import ciff
from lexlip_infer.formats.ciff import pairs_field

Documents = dict[str, dict[int, int]]

#: The published schema, CommonIndexFileFormat.proto of https://github.com/osirrc/ciff, as protoc compiles it: the bytes
#: that ciff-toolkit 0.2.2 (Apache-2.0) carries, which itself can only be installed with a protobuf too old for others.
PUBLISHED = (
    b"\n\nciff.proto\x12\x0eio.osirrc.ciff"
    b'"\xcc\x01\n\x06Header\x12\x0f\n\x07version\x18\x01 \x01(\x05'
    b"\x12\x1a\n\x12num_postings_lists\x18\x02 \x01(\x05\x12\x10\n\x08num_docs\x18\x03 \x01(\x05"
    b"\x12\x1c\n\x14total_postings_lists\x18\x04 \x01(\x05\x12\x12\n\ntotal_docs\x18\x05 \x01(\x05"
    b"\x12!\n\x19total_terms_in_collection\x18\x06 \x01(\x03"
    b"\x12\x19\n\x11average_doclength\x18\x07 \x01(\x01\x12\x13\n\x0bdescription\x18\x08 \x01(\t"
    b'"$\n\x07Posting\x12\r\n\x05docid\x18\x01 \x01(\x05\x12\n\n\x02tf\x18\x02 \x01(\x05'
    b'"_\n\x0cPostingsList'
    b"\x12\x0c\n\x04term\x18\x01 \x01(\t\x12\n\n\x02df\x18\x02 \x01(\x03\x12\n\n\x02cf\x18\x03 \x01(\x03"
    b"\x12)\n\x08postings\x18\x04 \x03(\x0b2\x17.io.osirrc.ciff.Posting"
    b'"G\n\tDocRecord\x12\r\n\x05docid\x18\x01 \x01(\x05\x12\x18\n\x10collection_docid\x18\x02 \x01(\t'
    b"\x12\x11\n\tdoclength\x18\x03 \x01(\x05b\x06proto3"
)
MESSAGES = ("Header", "Posting", "PostingsList", "DocRecord")


@pytest.fixture(scope="module")
def messages() -> dict[str, Any]:
    """Message classes of the published schema."""
    reason = "protobuf is not installed: pip install 'lexlip-infer[formats]'"
    pools = pytest.importorskip("google.protobuf.descriptor_pool", reason=reason)
    factory = pytest.importorskip("google.protobuf.message_factory", reason=reason)
    pool = pools.DescriptorPool()
    pool.AddSerializedFile(PUBLISHED)
    return {name: factory.GetMessageClass(pool.FindMessageTypeByName(f"io.osirrc.ciff.{name}")) for name in MESSAGES}


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
    monkeypatch.setattr("lexlip_infer.formats.contract._IN_MEMORY", 100)
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
