"""`lexlip index`, and `lexlip search` over what it makes: the same answers as over the output itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.search.trec_run import read_trec_run


def done(outcome: Any) -> str:
    assert outcome.status == 0, outcome.stderr
    return str(outcome.stdout)


def refused(outcome: Any) -> str:
    assert (outcome.status, outcome.stdout) == (2, "")
    (line,) = outcome.stderr.splitlines()
    return str(line)


@pytest.fixture
def index(lexlip: Callable[..., Any], encoded: Path, tmp_path: Path) -> Path:
    outcome = lexlip("index", encoded, tmp_path / "idx", "--threads", 2)
    assert done(outcome) == ""
    assert "5 documents (0 deleted)" in outcome.stderr
    return tmp_path / "idx"


@pytest.mark.parametrize(
    "options", [["a dog on grass"], ["a dog", "--json"], ["red", "--hits", 2, "--engine", "exact"]]
)
def test_index_and_output_answer_alike(
    options: list[str], lexlip: Callable[..., Any], encoded: Path, index: Path
) -> None:
    expected = lexlip("search", encoded, *options)
    assert expected.stdout
    assert lexlip("search", index, *options) == expected


def test_an_image(lexlip: Callable[..., Any], encoded: Path, index: Path, photographs: Path) -> None:
    options = ["--image", photographs / "a.jpg", "--json"]
    assert done(lexlip("search", index, *options)) == done(lexlip("search", encoded, *options)) != ""


def test_a_file_of_texts_becomes_a_run(lexlip: Callable[..., Any], index: Path, encoded: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.tsv"
    queries.write_text("q2\ta dog\nq1\tred ball\n")
    done(lexlip("search", index, "--queries", queries, "--output", tmp_path / "run.trec", "--tag", "mine"))
    run = read_trec_run(tmp_path / "run.trec")
    assert list(run) == ["q2", "q1"]
    for words, found in zip(("a dog", "red ball"), run.values(), strict=True):
        hits = [json.loads(line) for line in done(lexlip("search", encoded, words, "--json")).splitlines()]
        assert [(name, round(score)) for name, score in found.items()] == [(hit["id"], hit["score"]) for hit in hits]
    text = (tmp_path / "run.trec").read_text()
    assert text.splitlines()[0].endswith(" mine")
    assert done(lexlip("search", index, "--queries", queries, "--tag", "mine")) == text
    rows = [json.loads(line) for line in done(lexlip("search", index, "--queries", queries, "--json")).splitlines()]
    assert [(row["query"], row["id"]) for row in rows] == [(query, name) for query in run for name in run[query]]
    assert "exists" in refused(lexlip("search", index, "--queries", queries, "--output", tmp_path / "run.trec"))


def test_encoded_queries(lexlip: Callable[..., Any], index: Path, encoded: Path, tmp_path: Path) -> None:
    """The documents as queries, in the three forms that are read."""
    documents = [
        json.loads(line) for part in sorted(encoded.glob("vectors/*")) for line in part.read_text().splitlines()
    ]
    (tmp_path / "q.jsonl").write_bytes(b"".join(part.read_bytes() for part in sorted(encoded.glob("vectors/*"))))
    topics = [f"{d['id']}\t{' '.join(t for t, i in d['vector'].items() for _ in range(i))}\n" for d in documents]
    (tmp_path / "q.tsv").write_text("".join(topics))
    runs = [
        done(lexlip("search", index, "--query-vectors", path))
        for path in (encoded, tmp_path / "q.jsonl", tmp_path / "q.tsv")
    ]
    assert runs[0].count("\n") == 25
    assert runs[0] == runs[1] == runs[2] == done(lexlip("search", encoded, "--query-vectors", encoded))


def test_unknown_terms_and_empty_queries(
    lexlip: Callable[..., Any], index: Path, encoded: Path, tmp_path: Path
) -> None:
    term = next(iter(json.loads(next(encoded.glob("vectors/*")).read_text().splitlines()[0])["vector"]))
    lines = [
        {"id": "some", "vector": {term: 2, "no such": 3}},
        {"id": "none", "vector": {"no such": 1}},
        {"id": "", "vector": {}},
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    outcome = lexlip("search", index, "--query-vectors", tmp_path / "q.jsonl", "--json")
    assert {json.loads(line)["query"] for line in done(outcome).splitlines()} == {"some"}
    assert "2 terms unknown to" in outcome.stderr
    (tmp_path / "q.jsonl").write_text(json.dumps(lines[0]) + "\n" + json.dumps(lines[0]) + "\n")
    line = refused(lexlip("search", index, "--query-vectors", tmp_path / "q.jsonl"))
    assert "query id 'some' occurs 2 times" in line


def test_changes(
    lexlip: Callable[..., Any], index: Path, encoded: Path, bundle_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    names = [json.loads(line)["id"] for line in done(lexlip("search", index, "a dog", "--json")).splitlines()]
    (tmp_path / "gone.txt").write_text("\n".join(names[1:3]))
    outcome = lexlip("index", index, "--delete", names[0], "--delete-from", tmp_path / "gone.txt")
    assert "3 documents deleted" in outcome.stderr
    rest = [json.loads(line)["id"] for line in done(lexlip("search", index, "a dog", "--json")).splitlines()]
    assert rest == names[3:]
    assert "is in the index already; pass --replace" in refused(lexlip("index", encoded, index, "--append"))
    assert "5 documents added" in lexlip("index", encoded, index, "--append", "--replace").stderr
    lines = [line for part in (encoded / "vectors").iterdir() for line in part.read_text().splitlines()]
    postings = sum(len(json.loads(line)["vector"]) for line in lines)
    compacted = lexlip("index", index, "--compact").stderr
    assert f"5 documents (0 deleted), {postings} postings in 1 segment," in compacted
    assert "every file is as it was written" in lexlip("index", index, "--verify").stderr
    assert lexlip("search", index, "a dog") == lexlip("search", encoded, "a dog")


def test_a_model_of_another_make(
    lexlip: Callable[..., Any], index: Path, encoded: Path, bundle_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(bundle_folder, tmp_path / "other")
    (other / "lexlip.json").write_text((other / "lexlip.json").read_text().replace('"random"', '"other"'))
    assert "pass the same bundle with --model" in refused(lexlip("search", index, "a dog", "--model", other))
    (tmp_path / "in").mkdir()
    shutil.copy(photographs / "a.jpg", tmp_path / "in" / "new.jpg")
    lexlip("encode", "--images", tmp_path / "in", "--output", tmp_path / "out", "--model", other)
    line = refused(lexlip("index", tmp_path / "out", index, "--append"))
    assert "was not encoded as the index (model_name was random, here other" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--append", "--compact"], "give one of --append"),
        (["--replace"], "--replace goes with --append"),
        (["--engine", "lucene"], "no such engine; expected one of exact, anserini, bm25, faiss"),
        (["--engine", "anserini", "--verify"], "an Anserini index cannot be changed"),
        (["--verify"], "2 paths given; expected the index alone"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], message: str, lexlip: Callable[..., Any], encoded: Path, tmp_path: Path
) -> None:
    assert message in refused(lexlip("index", encoded, tmp_path / "idx", *options))
    assert not (tmp_path / "idx").exists()


def test_paths(lexlip: Callable[..., Any], encoded: Path, index: Path, tmp_path: Path) -> None:
    assert "expected what lexlip-encode wrote, and the index" in refused(lexlip("index", encoded))
    assert "exists; name a new folder" in refused(lexlip("index", encoded, index))
    assert "none: no index" in refused(lexlip("index", tmp_path / "none", "--verify"))
    assert "is for the engine exact, not anserini" in refused(lexlip("search", index, "dog", "--engine", "anserini"))
    assert "no such engine" in refused(lexlip("search", index, "dog", "--engine", "lucene"))


def test_anyones_json_lines_need_encoded_queries(lexlip: Callable[..., Any], encoded: Path, tmp_path: Path) -> None:
    done(lexlip("index", encoded / "vectors", tmp_path / "idx"))
    assert "does not say which model encodes its queries" in refused(lexlip("search", tmp_path / "idx", "a dog"))
    options = ["--query-vectors", encoded]
    assert done(lexlip("search", tmp_path / "idx", *options)) == done(lexlip("search", encoded, *options))


def test_an_anserini_index(lexlip: Callable[..., Any], encoded: Path, index: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyserini", reason="the extra `anserini` is not installed")
    done(lexlip("index", encoded, tmp_path / "lucene", "--engine", "anserini"))
    for options in (["--query-vectors", encoded], ["--query-vectors", encoded, "--json"]):
        assert done(lexlip("search", tmp_path / "lucene", *options)) == done(lexlip("search", index, *options)) != ""


def test_a_file_without_queries_and_a_destination_that_exists(
    lexlip: Callable[..., Any], index: Path, encoded: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.tsv").touch()
    assert "empty.tsv: no queries" in refused(lexlip("search", index, "--query-vectors", tmp_path / "empty.tsv"))
    said = refused(lexlip("search", index, "--query-vectors", tmp_path / "none", "--output", tmp_path / "empty.tsv"))
    assert "empty.tsv: exists" in said
    said = refused(lexlip("index", encoded, tmp_path / "empty.tsv"))
    assert said.count("exists") == 1
    assert "cannot be written" not in said


def test_inspect_describes_an_index(lexlip: Callable[..., Any], index: Path) -> None:
    done(lexlip("index", index, "--delete", "a.jpg"))
    found = json.loads(done(lexlip("inspect", index, "--json")))
    assert found == {
        "engine": "exact",
        "format_version": 2,
        "written_by": found["written_by"],
        "model": "random",
        "documents": 4,
        "deleted": 1,
        "segments": 1,
        "vocab_size": 150,
        "postings": found["postings"],
        "size": sum(file.stat().st_size for file in index.rglob("*") if file.is_file()),
    }
    assert "4 (1 deleted)" in done(lexlip("inspect", index))
    assert "is an index; --terms" in refused(lexlip("inspect", index, "--terms", 3))
    (index / "index.json").write_text("{}")
    assert "damaged" in refused(lexlip("inspect", index))


def test_inspect_describes_an_index_of_anserini(lexlip: Callable[..., Any], tmp_path: Path) -> None:
    index = tmp_path / "lucene-index"
    (index / "lucene").mkdir(parents=True)
    (index / "lucene" / "_0.si").write_bytes(b"12345")
    record = {"engine": "anserini", "anserini": "anserini-9.jar", "source": "out", "documents": 7}
    (index / "lexlip.json").write_text(json.dumps(record))
    found = json.loads(done(lexlip("inspect", index, "--json")))
    assert (found["engine"], found["documents"], found["segments"], found["vocab_size"]) == ("anserini", 7, 1, None)
    assert found["size"] == 5 + len(json.dumps(record))
    assert "engine anserini, format 1, by anserini-9.jar" in done(lexlip("inspect", index))
