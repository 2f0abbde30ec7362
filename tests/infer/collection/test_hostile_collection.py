"""Collections of strangers: what their manifest says is compared, and nothing is read without a bound."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.collection import collection as reading
from lexlip_infer.collection import manifest as manifests
from lexlip_infer.collection.collection import Collection
from lexlip_infer.collection.manifest import read_manifest
from lexlip_infer.collection.part_file import Failure, read_failures
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.impacts.lint import files as limits
from lexlip_infer.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("a", "b"))
LINE = b'{"id":"%d","contents":"","vector":{"a":1,"b":2}}\n'


def write(folder: Path, data: bytes, compress: str = "none", **record: Any) -> Path:
    """An output of one part, whose record says `record` where it should say something else."""
    (folder / "vectors").mkdir(parents=True)
    name = "part-00000.jsonl" + (".gz" if compress == "gz" else "")
    (folder / "vectors" / name).write_bytes(data)
    lines = len(gzip.decompress(data).splitlines()) if compress == "gz" and data[:1] == b"\x1f" else data.count(b"\n")
    documents = {"documents": lines, "inputs": lines, "impacts": 2 * lines, "failed": 0, "empty": 0}
    stored = {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    part = documents | stored | {"inputs_digest": "", "failures_size": 0} | record
    settings = {
        "modality": "text",
        "source": "",
        "model": None,
        "model_name": "m",
        "model_fingerprint": "",
        "top_k": 4,
        "scale": 100.0,
        "cap": 255,
        "normalise": False,
        "items_per_shard": 5000,
        "compress": compress,
    }
    manifest = {"format_version": 2, "version": "0", "settings": settings, "shards": [part], "complete": True}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def read(folder: Path) -> list[str]:
    return Collection.open(folder, vocabulary=VOCABULARY).in_id_order()[0]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"documents": -(10**30)}, r"shards\.0\.documents: Input should be greater than or equal to 0"),
        ({"documents": -1000, "inputs": -1000}, r"shards\.0\.documents: Input should be greater than or equal to 0"),
        ({"size": 2**60}, r"shards\.0\.size: Input should be less than or equal to 9007199254740992"),
        ({"size": 1e30}, r"shards\.0\.size: "),
        ({"failures_size": -1}, r"shards\.0\.failures_size: Input"),
        ({"documents": 3}, r"shards\.0: Value error, 3 documents and 0 failed of 2 inputs"),
        ({"empty": 3}, r"shards\.0: Value error, more of 2 documents are special than there are"),
        ({"name": "../../secret.jsonl"}, r"part 0 is called '../../secret\.jsonl'; expected part-00000\.jsonl"),
        ({"name": "/etc/passwd"}, r"part 0 is called '/etc/passwd'; expected part-00000\.jsonl"),
        ({"name": "part-00001.jsonl"}, r"part 0 is called 'part-00001\.jsonl'; expected part-00000\.jsonl"),
    ],
)
def test_a_false_record_is_refused(record: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", LINE % 1 + LINE % 2, **record)
    with pytest.raises(OutputError, match=said) as raised:
        read(folder)
    assert "\n" not in str(raised.value)


def test_a_part_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", LINE % 1)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"] *= 2
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OutputError, match=r"part 1 is called 'part-00000\.jsonl'; expected part-00001\.jsonl"):
        read(folder)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"documents": 3, "inputs": 3}, r"part-00000\.jsonl: 2 documents were read, where manifest\.json counts 3"),
        ({"documents": 1, "inputs": 1}, r"part-00000\.jsonl: 2 documents were read, where manifest\.json counts 1"),
        ({"impacts": 5}, r"part-00000\.jsonl: 4 impacts were read, where manifest\.json counts 5"),
    ],
)
def test_counts_are_compared_with_what_is_read(record: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=said):
        read(write(tmp_path / "out", LINE % 1 + LINE % 2, **record))


def test_a_manifest_is_read_under_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "out", LINE % 1)
    monkeypatch.setattr(manifests, "_LARGEST", 100)
    with pytest.raises(OutputError, match=r"manifest\.json: holds .*; at most 100 bytes are read"):
        read_manifest(folder)
    monkeypatch.undo()
    monkeypatch.setattr("lexlip_infer.files.reading._MOST_ENTRIES", 10)
    with pytest.raises(OutputError, match=r"manifest\.json: contents: Value error, more than 10 entries"):
        read_manifest(folder)
    monkeypatch.undo()
    monkeypatch.setattr("lexlip_infer.files.reading._MOST_FAULTS", 3)
    (folder / "manifest.json").write_text('{"format_version":2,"a":1,"b":1,"c":1,"d":1}')
    with pytest.raises(OutputError, match=r"manifest\.json: contents: 6 faults"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, '{"format_version": 1e999}', '{"format_version": 2, "settings": NaN}', ""],
)
def test_a_manifest_that_is_none(text: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", LINE % 1)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(OutputError, match=r"manifest\.json: ") as raised:
        read_manifest(folder)
    assert "\n" not in str(raised.value)


def test_a_link_to_nothing_is_no_missing_manifest(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", LINE % 1)
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to(tmp_path / "absent")
    with pytest.raises(OutputError, match=r"manifest\.json: is a symbolic link"):
        read(folder)


def test_a_part_is_no_larger_than_its_documents_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "out", LINE % 1 + LINE % 2 + b" " * 65)
    assert read(write(tmp_path / "whole", LINE % 1 + LINE % 2)) == ["1", "2"]
    monkeypatch.setattr(reading, "LONGEST_LINE", len(LINE % 1))
    with pytest.raises(
        OutputError, match=r"part-00000\.jsonl: 1\d\d bytes for 2 documents; a line has at most \d+ bytes"
    ):
        read(folder)


@pytest.mark.parametrize("name", ["manifest.json", "vectors/part-00000.jsonl"])
@pytest.mark.parametrize("kind", ["FIFO", "link", "folder"])
def test_special_files_and_links(kind: str, name: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", LINE % 1)
    (folder / name).rename(tmp_path / "moved")
    if kind == "FIFO":
        os.mkfifo(folder / name)
    elif kind == "link":
        (folder / name).symlink_to(tmp_path / "moved")
    else:
        (folder / name).mkdir()
    said = "is a symbolic link" if kind == "link" else f"is a {kind}"
    with pytest.raises(OutputError, match=f"{name}: {said}"):
        read(folder)


_PACKED = gzip.compress(LINE % 1, mtime=0)


@pytest.mark.parametrize("data", [b"no gzip\n", _PACKED[:-9], _PACKED + b"rest\n"], ids=["no gzip", "cut", "more"])
def test_a_damaged_part_is_called_damaged(data: bytes, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", gzip.compress(LINE % 1), "gz")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "vectors" / "part-00000.jsonl.gz").write_bytes(data)
    with pytest.raises(OutputError, match=r"part-00000\.jsonl\.gz: is a damaged gzip file \(.*\); copy it again"):
        read(folder)


def test_a_part_expands_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(LINE % 1 + LINE % 2)
    folder = write(tmp_path / "out", packed, "gz")
    assert read(folder) == ["1", "2"]
    monkeypatch.setattr(limits, "SPARE_EXPANSION", 10)
    monkeypatch.setattr(limits, "MOST_EXPANSION", 1)
    with pytest.raises(
        OutputError, match=r"part-00000\.jsonl\.gz: expands from \d+ bytes to more than \d+ bytes, the most"
    ):
        read(folder)
    (tmp_path / "lines.jsonl.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"lines\.jsonl\.gz: expands from \d+ bytes to more than \d+ bytes, the most"):
        read(tmp_path / "lines.jsonl.gz")


@pytest.mark.parametrize("compress", ["none", "gz"])
def test_a_line_is_read_within_limits(compress: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = LINE % 1 + LINE % (10**40)
    folder = write(tmp_path / "out", gzip.compress(data) if compress == "gz" else data, compress)
    assert read(folder) == ["1", str(10**40)]
    monkeypatch.setattr(reading, "LONGEST_LINE", 60)
    with pytest.raises(OutputError, match=r"has a line \(number 2\) of more than 60 bytes, the most that is read"):
        read(folder)


def test_a_part_is_parsed_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(LINE % number for number in range(100, 400))
    folder = write(tmp_path / "out", data)
    monkeypatch.setattr(reading, "_BLOCK", 1000)
    collection = Collection.open(folder, vocabulary=VOCABULARY)
    ((ids, impacts),) = collection.parts()
    assert ids == [str(number) for number in range(100, 400)]
    assert impacts.impacts.tolist() == [1, 2] * 300
    with pytest.raises(
        OutputError, match=r"part-00000\.jsonl: 2\d documents were read, where manifest\.json counts 1;"
    ):
        read(write(tmp_path / "false", data, documents=1, inputs=1))


def test_a_named_file_has_to_be_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lines.jsonl")
    with pytest.raises(InputError, match=r"lines\.jsonl: is a FIFO; expected a regular file"):
        Collection.open(tmp_path / "lines.jsonl")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "line 2 is not as lexlip-encode wrote it"),
        ("[1]", "line 2 is not as lexlip-encode wrote it"),
        ("[" * 100_000, "line 2 is not as lexlip-encode wrote it"),
        ("x" * 2_000_000, r"has a line \(number 2\) of more than 1 MB"),
    ],
)
def test_a_ledger_that_is_none(line: str, said: str, tmp_path: Path) -> None:
    failure = Failure("a", "b", "read", "broken")
    (tmp_path / "failures.jsonl").write_text(f"{failure.line()}\n")
    assert read_failures(tmp_path) == (failure,)
    (tmp_path / "failures.jsonl").write_text(f"{failure.line()}\n{line}\n")
    with pytest.raises(OutputError, match=rf"failures\.jsonl: {said}"):
        read_failures(tmp_path)
    (tmp_path / "failures.jsonl").unlink()
    with pytest.raises(OutputError, match=r"failures\.jsonl: cannot be read \(No such file"):
        read_failures(tmp_path)
