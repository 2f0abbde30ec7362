"""`lexlip convert` on an output of lexlip-encode and on other people's JSON lines."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from lexlip_infer import LexLIPEncoder
from lexlip_infer.cli import convert
from lexlip_infer.cli.convert import FORMAT_NAMES
from lexlip_infer.formats import FORMATS

Lexlip = Callable[..., Any]


def collection(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for part in sorted(folder.glob("vectors/*")) for line in part.read_bytes().splitlines()]


def refused(outcome: Any, message: str) -> None:
    assert outcome.status == 2
    assert outcome.stderr.count("\n") == 1
    assert message in outcome.stderr


def test_names_of_the_help_text() -> None:
    assert FORMAT_NAMES.split(", ") == list(FORMATS)


def test_the_list(lexlip: Lexlip) -> None:
    outcome = lexlip("convert", "--formats")
    assert (outcome.status, outcome.stderr) == (0, "")
    for one in FORMATS.values():
        assert f"{one.name} ({one.suffix}): {one.purpose}\n    {one.constraints}\n" in outcome.stdout


def test_the_document_knows_every_format() -> None:
    table = Path(__file__).parents[3] / "docs" / "formats.md"
    rows = [line.split(" | ")[:2] for line in table.read_text().splitlines() if line.startswith("| `")][1:]
    assert rows == [[f"| `{one.name}`", f"`{one.suffix}`"] for one in FORMATS.values()]


def test_an_output(lexlip: Lexlip, encoded: Path, encoder: LexLIPEncoder, tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    outcome = lexlip("convert", encoded, path, "--to", "npz")
    assert (outcome.status, outcome.stdout) == (0, "")
    assert outcome.stderr.startswith("5 documents, ")
    documents = collection(encoded)
    matrix = scipy.sparse.load_npz(path).tocsr()
    assert json.loads(np.load(path)["ids.json"]) == [document["id"] for document in documents]
    for row, document in enumerate(documents):
        entries = matrix[[row]].tocoo()
        vector = {
            encoder.vocabulary.terms[term]: impact for term, impact in zip(entries.col, entries.data, strict=True)
        }
        assert vector == document["vector"]


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"parquet"}))
def test_every_format(name: str, lexlip: Lexlip, encoded: Path, tmp_path: Path) -> None:
    path = tmp_path / f"out{FORMATS[name].suffix}"
    dots = ["--replace-dots", "_dot_"] if name == "elasticsearch" else []
    outcome = lexlip("convert", encoded, path, "--to", name, *dots)
    assert outcome.status == 0, outcome.stderr
    if name == "anserini":
        parts = sorted((encoded / "vectors").iterdir())
        assert path.read_bytes() == b"".join(part.read_bytes() for part in parts)
    refused(lexlip("convert", encoded, path, "--to", name, *dots), "exists, and nothing is written over")


def test_options_that_mean_nothing(lexlip: Lexlip, encoded: Path, tmp_path: Path) -> None:
    for option in (["--tokens"], ["--no-index"], ["--field", "x"], ["--collection", "x"], ["--replace-dots", "x"]):
        outcome = lexlip("convert", encoded, tmp_path / "out.ciff", "--to", "ciff", *option)
        refused(outcome, f"{option[0]} means nothing to the format ciff")
    refused(
        lexlip("convert", encoded, tmp_path / "out.x", "--to", "solr"), "--to solr: no such format; expected one of"
    )


def test_an_unfinished_or_damaged_output(lexlip: Lexlip, encoded: Path, tmp_path: Path) -> None:
    manifest = encoded / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"complete": true', '"complete": false'))
    refused(lexlip("convert", encoded, tmp_path / "out.ciff", "--to", "ciff"), "the run was interrupted")
    manifest.write_text(text)
    part = sorted((encoded / "vectors").iterdir())[1]
    data = part.read_bytes()
    part.write_bytes(data.replace(b":1", b":2", 1))
    refused(lexlip("convert", encoded, tmp_path / "out.ciff", "--to", "ciff"), "changed since it was written")
    part.write_bytes(data)
    assert not list(tmp_path.glob("*out.ciff*"))
    assert lexlip("convert", encoded, tmp_path / "out.ciff", "--to", "ciff").status == 0


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Two files, one compressed, with ids of both kinds."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"id": 17, "contents": "x", "vector": {"dog": 3, "##s": 1}}\n')
    (folder / "b.jsonl.gz").write_bytes(gzip.compress('{"id": "é", "vector": {"cat": 5, "dog": 9}}\n'.encode()))
    return folder


def test_json_lines_of_anyone(lexlip: Lexlip, foreign: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    assert lexlip("convert", foreign, path, "--to", "anserini").status == 0
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == [
        {"id": "17", "contents": "", "vector": {"dog": 3, "##s": 1}},
        {"id": "é", "contents": "", "vector": {"dog": 9, "cat": 5}},
    ]


def test_zeros_of_anyone_are_left_out(lexlip: Lexlip, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id":"9","contents":"","vector":{"`":0,"team":70,"annual":0,"war":32}}\n')
    path = tmp_path / "out.tsv"
    assert lexlip("convert", tmp_path / "a.jsonl", path, "--to", "anserini").status == 2  # .jsonl is asked for
    assert lexlip("convert", tmp_path / "a.jsonl", path.with_suffix(".jsonl"), "--to", "anserini").status == 0
    assert json.loads(path.with_suffix(".jsonl").read_bytes())["vector"] == {"team": 70, "war": 32}


def test_term_ids_need_a_vocabulary(lexlip: Lexlip, foreign: Path, tmp_path: Path) -> None:
    path, terms = tmp_path / "out.tsv", tmp_path / "vocab.txt"
    arguments = ("convert", foreign, path, "--to", "pgvector")
    refused(lexlip(*arguments), "say which with --model MODEL or --vocabulary TXT")
    terms.write_text("[PAD]\r\ncat\ndog\n##s\n")
    assert lexlip(*arguments, "--vocabulary", terms).status == 0
    assert path.read_text() == "17\t{3:3,4:1}/4\né\t{2:5,3:9}/4\n"
    path.unlink()
    for text, message in [
        ("cat\n", "a.jsonl, line 1: unknown term 'dog'"),
        ("a\n\nb", "a term is empty"),
        ("a\na", "twice"),
    ]:
        terms.write_text(text)
        refused(lexlip(*arguments, "--vocabulary", terms), message)
    refused(lexlip(*arguments, "--vocabulary", tmp_path / "none"), "cannot be read")
    refused(lexlip(*arguments, "--vocabulary", terms, "--model", "x"), "either --model or --vocabulary")


def test_a_bundle_as_vocabulary(lexlip: Lexlip, encoded: Path, bundle_folder: Path, tmp_path: Path) -> None:
    path, again = tmp_path / "one.json", tmp_path / "two.json"
    assert lexlip("convert", encoded, path, "--to", "tei").status == 0
    assert lexlip("convert", encoded / "vectors", again, "--to", "tei", "--model", bundle_folder).status == 0
    assert path.read_bytes() == again.read_bytes()


def test_another_model(lexlip: Lexlip, encoded: Path, tmp_path: Path) -> None:
    manifest = encoded / "manifest.json"
    settings = json.loads(manifest.read_text())
    settings["settings"]["model_fingerprint"] = "0" * 64
    manifest.write_text(json.dumps(settings))
    refused(lexlip("convert", encoded, tmp_path / "out.npz", "--to", "npz"), "pass the same bundle with --model")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.txt", b"notes", "move it elsewhere"),
        ("b.jsonl.zst", b"", "compress with gzip"),
        ("b.jsonl", b'{"id": "x", "vector": {"dog": 0.5}}\n', "b.jsonl, line 1: term 'dog' has impact 0.5"),
        ("b.jsonl", b"{}\n" * 1, "b.jsonl, line 1: the key 'id' is missing"),
        ("b.jsonl.gz", b"no gzip", "damaged gzip file"),
        ("b.jsonl.gz", gzip.compress(b'{"id": "x", "vector": {"dog": 5}}\n' * 99, mtime=0)[:-9], "damaged gzip file"),
        ("b.jsonl", b'{"id": "17", "vector": {"dog": 5}}\n', "document id '17' occurs 2 times"),
    ],
)
def test_bad_json_lines(name: str, content: bytes, message: str, lexlip: Lexlip, foreign: Path, tmp_path: Path) -> None:
    (foreign / "b.jsonl.gz").unlink()
    (foreign / name).write_bytes(content)
    refused(lexlip("convert", foreign, tmp_path / "out.ndjson", "--to", "opensearch"), message)
    assert not list(tmp_path.glob("*out.ndjson*"))


def test_line_numbers_after_the_first_chunk(lexlip: Lexlip, foreign: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"d{number}", "vector": {"dog": 1}}) for number in range(2500)]
    lines[2345] = "{"
    (foreign / "a.jsonl").write_text("\n".join(lines))
    refused(lexlip("convert", foreign, tmp_path / "out.ciff", "--to", "ciff"), "a.jsonl, line 2346: not valid JSON")


def test_nothing_there(lexlip: Lexlip, tmp_path: Path) -> None:
    refused(lexlip("convert", tmp_path / "none", tmp_path / "o.ciff", "--to", "ciff"), "no such file or folder")
    (tmp_path / "empty").mkdir()
    refused(lexlip("convert", tmp_path / "empty", tmp_path / "o.ciff", "--to", "ciff"), "holds no file")


def test_parquet_says_how_impacts_were_scaled(lexlip: Lexlip, encoded: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'lexlip-infer[io]'")
    path = tmp_path / "out.parquet"
    assert lexlip("convert", encoded, path, "--to", "parquet", "--tokens").status == 0
    table = parquet.read_table(io.BytesIO(path.read_bytes()))
    assert table.schema.metadata[b"lexlip.scale"] == b"100.0"
    for row, document in zip(table.to_pylist(), collection(encoded), strict=True):
        assert row["id"] == document["id"]
        assert dict(zip(row["tokens"], row["values"], strict=True)) == document["vector"]


@pytest.mark.parametrize("known", [True, False])
def test_progress(known: bool, lexlip: Lexlip, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an output, the number of documents is known beforehand; of a folder of JSON lines it is not."""
    told: list[object] = []

    @contextmanager
    def bar(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
        told.extend((total, what))
        yield told.append

    monkeypatch.setattr(convert, "progress_bar", bar)
    source = encoded if known else encoded / "vectors"
    assert lexlip("convert", source, tmp_path / "out.jsonl", "--to", "anserini").status == 0
    assert told == [5 if known else None, "documents", 2, 4, 5]
