"""What an engine would refuse, cut or drop is refused before, naming document, rule and cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.formats import FORMATS, FormatSettings, toolkits
from lexlip_infer.vocabulary import Vocabulary

Write = Callable[..., bytes]

MANY = Vocabulary(tuple(f"t{i}" for i in range(17_000)))


def terms(count: int) -> dict[int, int]:
    return dict.fromkeys(range(count), 1)


@pytest.mark.parametrize(
    ("name", "documents", "message"),
    [
        ("anserini", {"fine": {1: 1}, "bad": {}}, "document 'bad': has no terms; Anserini refuses an empty vector"),
        ("anserini-topics", {"q": {}}, "document 'q': has no terms"),
        ("anserini-topics", {"fine": {1: 2}, "q": {1: 1}}, "document 'q': has no terms; a query without terms finds"),
        ("anserini-topics", {"a\tb": {3: 1}}, r"document 'a\\tb': a topic's id .* no tab or line end"),
        ("anserini-topics", {" a": {3: 1}}, "does not begin with a blank"),
        ("anserini-topics", {"": {3: 1}}, "a topic's id is not empty"),
        ("milvus", {"a": {}}, "document 'a': has no terms; Milvus refuses an empty vector"),
        ("milvus", {"": {1: 1}}, "document '': an empty id; Milvus needs one"),
        ("milvus", {"é" * 32_768: {1: 1}}, "its id is longer than the 65,535 bytes that Milvus takes"),
        ("opensearch", {"x" * 513: {1: 1}}, "its id is longer than the 512 bytes that OpenSearch takes"),
        ("elasticsearch", {"日" * 171: {1: 1}}, "its id is longer than the 512 bytes that Elasticsearch takes"),
        ("elasticsearch", {"fine": {1: 1}, "b": {2: 1, 12: 4}}, "document 'b': term 'a.b'; .* --replace-dots"),
        ("vespa", {"a\0": {1: 1}}, r"document 'a\\x00': .* does not take for text"),
        ("vespa", {"a\ufffe": {1: 1}}, "does not take for text"),
        ("vespa", {"": {1: 1}}, "its id is empty"),
        ("vespa", {"v" * 65_536: {1: 1}}, "longer than 65,536 characters"),
        ("pgvector", {"a\0b": {1: 1}}, r"document 'a\\x00b': .* PostgreSQL cannot store"),
        ("seismic", {"a": {1: 2049}}, "document 'a': impact 2,049; Seismic takes impacts of at most 2,048 unrounded"),
        *(
            (name, {"fine": {1: 2**24}, "big": {1: 1, 2: 2**24 + 1}}, "document 'big': impact 16,777,217")
            for name in ("qdrant", "milvus", "opensearch", "elasticsearch", "vespa", "pgvector", "tei")
        ),
        ("ciff", {"a": {1: 2**31 - 1, 2: 1}}, "document 'a': the sum of its impacts is 2,147,483,648; CIFF takes"),
    ],
)
def test_refused(name: str, documents: Any, message: str, write: Write) -> None:
    with pytest.raises(InputError, match=message) as error:
        write(name, documents)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("name", "most", "choices"),
    [("anserini-topics", 1024, {}), ("pgvector", 1000, {}), ("pgvector", 16_000, {"indexed": False})],
)
def test_terms_of_a_document(name: str, most: int, choices: dict[str, Any], write: Write) -> None:
    assert write(name, {"full": terms(most)}, terms=MANY, **choices)
    with pytest.raises(InputError, match=f"document 'over': {most + 1:,} terms; .* takes {most:,}: .*--top-k"):
        write(name, {"full": terms(most), "over": terms(most + 1)}, terms=MANY, **choices)


def test_long_ids_that_just_fit(write: Write) -> None:
    for name in ("opensearch", "elasticsearch"):
        assert b"\xe6" in write(name, {"日" * 170 + "ab": {1: 1}})


def test_long_terms_of_seismic(write: Write) -> None:
    vocabulary = Vocabulary(("x" * 100, "y" * 101))
    assert write("seismic", {"a": {0: 1}}, terms=vocabulary)
    with pytest.raises(InputError, match=r"document 'a': term 'yyy.* at most 100 characters"):
        write("seismic", {"a": {1: 1}}, terms=vocabulary)


def test_terms_that_anserini_would_split(write: Write) -> None:
    for name in ("anserini", "anserini-topics"):
        with pytest.raises(InputError, match="white space"):
            write(name, {}, terms=Vocabulary(("a b",)))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_terms_that_are_no_unicode(name: str, write: Write) -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        write(name, {}, terms=Vocabulary(("fine", "\ud800")))


def test_a_long_repetition(write: Write) -> None:
    with pytest.raises(InputError, match="document 'q': impact 65,536; a query takes impacts of at most 65,535"):
        write("anserini-topics", {"q": {2: 65_536}})


def test_replaced_dots(write: Write) -> None:
    assert b'{"lexlip":{"the":1,"a_dot_b":4}}' in write("elasticsearch", {"a": {2: 1, 12: 4}}, replace_dots="_dot_")
    clash = Vocabulary((".", "_"))
    with pytest.raises(InputError, match=r"--replace-dots '_' makes '_' the same as '\.'"):
        write("elasticsearch", {}, terms=clash, replace_dots="_")
    for nonsense in ("", "a.b"):
        with pytest.raises(InputError, match="without a dot"):
            write("elasticsearch", {}, replace_dots=nonsense)


def test_names(write: Write) -> None:
    assert b'"fields":{"words":' in write("vespa", {"a": {1: 1}}, field="words", collection="photos")
    assert b'"put":"id:photos:photos::a"' in write("vespa", {"a": {1: 1}}, field="words", collection="photos")
    for name in ('a"b', "", "é", "1st", "a.b"):
        with pytest.raises(InputError, match="expected an ASCII letter"):
            FormatSettings(field=name)


def test_a_topic_is_no_longer_than_a_line_that_is_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolkits, "LONGEST", 100)
    assert len(write("anserini-topics", {"q": {3: 12}})) < 100
    with pytest.raises(
        InputError, match=r"document 'q': its terms, .* 100 are read of a line: quantise with a smaller"
    ):
        write("anserini-topics", {"fine": {3: 2}, "q": {3: 60_000}})
