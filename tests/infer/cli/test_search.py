"""`lexlip search` against integer dot products computed from the JSON files alone."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.impacts import QuantisationSettings, reference

Vectors = dict[str, dict[str, int]]


def documents(output: Path) -> Vectors:
    rows = [json.loads(line) for part in output.glob("vectors/*") for line in part.read_bytes().splitlines()]
    return {row["id"]: row["vector"] for row in rows}


def query_vector(encoder: LexLIPEncoder, batch: SparseBatch) -> dict[str, int]:
    ids, impacts = reference.quantise(batch, QuantisationSettings(100, 255, normalise=True)).row(0)
    return {encoder.vocabulary.terms[term]: int(impact) for term, impact in zip(ids, impacts, strict=True)}


def brute_force(query: dict[str, int], collection: Vectors) -> list[tuple[int, str]]:
    scores = {
        name: sum(query[term] * impact for term, impact in vector.items() if term in query)
        for name, vector in collection.items()
    }
    return sorted(((score, name) for name, score in scores.items() if score), key=lambda hit: (-hit[0], hit[1]))


def rows_of(outcome: Any) -> list[dict[str, Any]]:
    assert (outcome.status, outcome.stderr) == (0, "")
    return [json.loads(line) for line in outcome.stdout.splitlines()]


@pytest.mark.parametrize("text", ["a dog runs on grass", "red", "zzz ### 999", "a\udce9b"])
def test_words(text: str, lexlip: Callable[..., Any], encoded: Path, encoder: LexLIPEncoder) -> None:
    rows = rows_of(lexlip("search", encoded, text, "--json"))
    expected = brute_force(query_vector(encoder, encoder.encode_texts([text])), documents(encoded))
    assert expected
    assert [(row["score"], row["id"]) for row in rows] == expected
    assert [row["rank"] for row in rows] == list(range(1, 6))


@pytest.mark.parametrize("hits", [1, 3, 100, 300_000_000, 10**30])
def test_an_image(
    hits: int, lexlip: Callable[..., Any], encoded: Path, encoder: LexLIPEncoder, photographs: Path
) -> None:
    image = photographs / "sub" / "c.JPG"
    rows = rows_of(lexlip("search", encoded, "--image", image, "--json", "--hits", hits))
    query = query_vector(encoder, encoder.encode_images([image]))
    collection = documents(encoded)
    assert [(row["score"], row["id"]) for row in rows] == brute_force(query, collection)[:hits]
    for row in rows:
        shares = dict(row["terms"])
        vector = collection[row["id"]]
        assert shares == {term: query[term] * vector[term] for term in query if term in vector}
        assert sum(shares.values()) == row["score"]
        assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_ties_go_by_id(lexlip: Callable[..., Any], bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    names = ["b.png", "B.png", "é.png", "a/z.png", "a.png"]
    for name in names:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photographs / "b.png", path)
    output = tmp_path / "out"
    lexlip(
        "encode", "--images", tmp_path / "in", "--output", output, "--model", bundle_folder, "--items-per-shard", 1,
        "--batch-size", 1,
    )  # fmt: skip
    rows = rows_of(lexlip("search", output, "--image", photographs / "a.jpg", "--json"))
    assert len({row["score"] for row in rows}) == 1
    assert [row["id"] for row in rows] == sorted(names)


def test_without_a_terminal_a_hit_is_one_line_of_tabs(
    lexlip: Callable[..., Any], bundle_folder: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "/".join(["a folder with [red]a long name[/red]"] * 5) + ".jpg"
    (tmp_path / "in" / long).parent.mkdir(parents=True)
    shutil.copy(photographs / "a.jpg", tmp_path / "in" / long)
    shutil.copy(photographs / "a.jpg", tmp_path / "in" / "tab\there\n.jpg")
    output = tmp_path / "out"
    lexlip("encode", "--images", tmp_path / "in", "--output", output, "--model", bundle_folder)
    outcome = lexlip("search", output, "--image", photographs / "a.jpg")
    assert (outcome.status, outcome.stderr) == (0, "")
    fields = [line.split("\t") for line in outcome.stdout.splitlines()]
    assert [(rank, name) for rank, _, name, _ in fields] == [("1", long), ("2", r"tab\there\n.jpg")]
    rows = rows_of(lexlip("search", output, "--image", photographs / "a.jpg", "--json"))
    assert [(int(score), terms) for _, score, _, terms in fields] == [
        (row["score"], "  ".join(f"{term} {share}" for term, share in row["terms"][:6])) for row in rows
    ]


def test_on_a_terminal(lexlip: Callable[..., Any], encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    outcome = lexlip("search", encoded, "a dog")
    assert (outcome.status, outcome.stderr) == (0, "")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", outcome.stdout).splitlines()
    assert lines[0].startswith("query terms: ")
    assert lines[1].split() == ["rank", "score", "file", "matching", "terms"]
    assert len(lines) == 7


def test_nothing_found(lexlip: Callable[..., Any], encoded: Path, bundle_folder: Path) -> None:
    """One document, with one term that no query has."""
    term = LexLIPEncoder.from_pretrained(bundle_folder).vocabulary.terms[0]
    line = json.dumps({"id": "lonely", "vector": {term: 1}}).encode() + b"\n"
    for part in encoded.glob("vectors/*"):
        part.unlink()
    (encoded / "vectors" / "part-00000.jsonl").write_bytes(line)
    manifest = json.loads((encoded / "manifest.json").read_bytes())
    counts = {"documents": 1, "impacts": 1, "inputs": 1, "failed": 0, "empty": 0}
    record = counts | {"size": len(line), "sha256": hashlib.sha256(line).hexdigest()}
    manifest["shards"] = [manifest["shards"][0] | record]
    (encoded / "manifest.json").write_text(json.dumps(manifest))
    outcome = lexlip("search", encoded, "a dog")
    assert (outcome.status, outcome.stdout) == (0, "")
    assert outcome.stderr == "nothing found: no document shares a term with the query\n"


def test_several_words_need_no_quotes(lexlip: Callable[..., Any], encoded: Path) -> None:
    quoted = lexlip("search", encoded, "a dog runs", "--hits", 2)
    assert lexlip("search", encoded, "a", "dog", "runs", "--hits", 2) == quoted
    assert lexlip("search", encoded, "a", "--hits", 2, "dog runs") == quoted


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_query_without_a_known_word(
    terminal: bool, options: list[str], lexlip: Callable[..., Any], encoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_query(self: LexLIPEncoder, texts: list[str], **options: object) -> SparseBatch:
        return SparseBatch(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), 150)

    monkeypatch.setattr(LexLIPEncoder, "encode_query", encode_query)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    outcome = lexlip("search", encoded, "日本語", *options)
    assert (outcome.status, outcome.stdout) == (0, "")
    assert outcome.stderr == "nothing found: the query holds no word the model knows\n"


def test_an_incomplete_run_is_said_to_be_one(lexlip: Callable[..., Any], encoded: Path) -> None:
    manifest = json.loads((encoded / "manifest.json").read_bytes())
    manifest |= {"complete": False, "shards": manifest["shards"][:2]}
    (encoded / "manifest.json").write_text(json.dumps(manifest))
    outcome = lexlip("search", encoded, "a dog", "--json")
    assert (outcome.status, len(outcome.stdout.splitlines())) == (0, 4)
    assert outcome.stderr == (
        f"{encoded} is incomplete: 4 images encoded so far; run the same lexlip-encode command to finish\n"
    )


@pytest.mark.parametrize("arguments", [[], [""], ["  \n"], ["", " "], ["a dog", "--image", "x.jpg"]])
def test_what_to_look_for(arguments: list[str], lexlip: Callable[..., Any], encoded: Path) -> None:
    outcome = lexlip("search", encoded, *arguments)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert (
        outcome.stderr
        == "lexlip: give one of a query in words, --image FILE, --queries FILE and --query-vectors PATH\n"
    )


def refusal(outcome: Any) -> str:
    assert (outcome.status, outcome.stdout) == (2, "")
    (line,) = outcome.stderr.splitlines()
    return str(line).removeprefix("lexlip: ")


@pytest.mark.parametrize(("option", "value"), [("--hits", 0), ("--threads", 0), ("--threads", 10**10)])
def test_numbers_out_of_range(option: str, value: int, lexlip: Callable[..., Any], encoded: Path) -> None:
    outcome = lexlip("search", encoded, "a dog", option, value)
    assert outcome.status == 2
    assert f"Invalid value for '{option}'" in outcome.stderr


def test_no_such_collection(lexlip: Callable[..., Any], tmp_path: Path) -> None:
    assert "none: neither an index nor the output of lexlip-encode" in refusal(
        lexlip("search", tmp_path / "none", "a dog")
    )


def test_no_such_image(lexlip: Callable[..., Any], encoded: Path, tmp_path: Path) -> None:
    line = refusal(lexlip("search", encoded, "--image", tmp_path / "x.jpg"))
    assert line == f"{tmp_path / 'x.jpg'}: cannot be read (No such file or directory)"


def test_another_model(lexlip: Callable[..., Any], encoded: Path, bundle_folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(bundle_folder, tmp_path / "other")
    (other / "lexlip.json").write_text((other / "lexlip.json").read_text().replace('"random"', '"other"'))
    line = refusal(lexlip("search", encoded, "a dog", "--model", other))
    assert f"{encoded} was encoded with random (" in line
    assert "this is other (" in line


def test_the_same_model_elsewhere(
    lexlip: Callable[..., Any], encoded: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle_folder, tmp_path / "copy")
    assert rows_of(lexlip("search", encoded, "a dog", "--json", "--model", copy)) == rows_of(
        lexlip("search", encoded, "a dog", "--json")
    )


def test_a_shard_that_changed(lexlip: Callable[..., Any], encoded: Path) -> None:
    (encoded / "vectors" / "part-00001.jsonl").unlink()
    assert "part-00001.jsonl: missing or changed" in refusal(lexlip("search", encoded, "a dog"))


def test_a_foreign_file_among_the_shards(lexlip: Callable[..., Any], encoded: Path) -> None:
    shutil.copy(encoded / "vectors" / "part-00000.jsonl", encoded / "vectors" / "part-00000-copy.jsonl")
    assert "part-00000-copy.jsonl: not written by this run" in refusal(lexlip("search", encoded, "a dog"))
    assert "part-00000-copy.jsonl: not written by this run" in refusal(lexlip("inspect", encoded))


def test_every_input_failed(lexlip: Callable[..., Any], bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    lexlip("encode", "--images", tmp_path / "in", "--output", tmp_path / "out", "--model", bundle_folder)
    line = refusal(lexlip("search", tmp_path / "out", "a dog"))
    assert line.endswith("no documents to search; every input failed, see failures.jsonl")


def test_a_query_that_holds_nothing_finds_nothing_in_any_way_of_asking(
    lexlip: Callable[..., Any], bundle_folder: Path, tmp_path: Path
) -> None:
    """An empty document and an empty query both get the placeholder [UNK], which is no word that they share."""
    terms = LexLIPEncoder.from_pretrained(bundle_folder).vocabulary.terms
    docs = [{"id": "blank", "vector": {"[UNK]": 1}}, {"id": "dog", "vector": {terms[9]: 5, "[UNK]": 2}}]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in docs))
    assert lexlip("index", tmp_path / "docs", tmp_path / "idx").status == 0
    rows = [{"id": "nothing", "vector": {"[UNK]": 1}}, {"id": "some", "vector": {terms[9]: 1, "[UNK]": 1}}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "q.tsv").write_text(f"nothing\t[UNK]\nother\t[unused3]\nsome\t{terms[9]} [UNK]\n")
    for name in ("q.jsonl", "q.tsv"):
        outcome = lexlip("search", tmp_path / "idx", "--query-vectors", tmp_path / name)
        assert (outcome.status, outcome.stderr) == (0, "")
        assert [line.split()[0] for line in outcome.stdout.splitlines()] == ["some", "some"]


def test_dense_vectors_are_searched_with_dense_vectors(lexlip: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed (extra faiss)")
    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "ids.txt").write_text("a\nb\nc\n")
    index = tmp_path / "dense"
    built = lexlip("index", tmp_path / "v.npy", index, "--engine", "faiss", "--ids", tmp_path / "ids.txt")
    assert built.status == 0, built.stderr
    assert built.stderr.startswith("3 documents, by faiss ")
    outcome = lexlip("search", index, "--query-vectors", tmp_path / "v.npy", "--hits", 1, "--json")
    found = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert found == [
        {"query": str(number), "rank": 1, "score": 1.0, "id": name} for number, name in enumerate("abc", start=1)
    ]
    assert "for the engine faiss, which holds dense vectors; a str was given" in refusal(lexlip("search", index, "dog"))
    assert "cannot be changed" in refusal(lexlip("index", index, "--delete", "a"))
    said = refusal(lexlip("index", tmp_path / "v.npy", tmp_path / "x", "--engine", "faiss"))
    assert "give them with --ids FILE" in said
    assert json.loads(lexlip("inspect", index, "--json").stdout)["engine"] == "faiss"
