"""A stream becomes one whole file or none."""

from __future__ import annotations

import fcntl
import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.files import new_file
from lexlip_infer.formats import FORMATS, FormatSettings
from lexlip_infer.formats import convert as module
from lexlip_infer.formats.convert import Converted, convert
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

Documents = dict[str, dict[int, int]]


def one_term(ids: list[str], vocabulary: Vocabulary) -> tuple[list[str], ImpactMatrix]:
    count = len(ids)
    terms, ones = np.full(count, 3, np.int32), np.ones(count, np.int32)
    return ids, ImpactMatrix(np.arange(count + 1, dtype=np.int64), terms, ones, len(vocabulary))


def stream(chunks: list[list[str]], vocabulary: Vocabulary) -> Callable[[], Iterator[Any]]:
    return lambda: (one_term(ids, vocabulary) for ids in chunks)


@pytest.mark.parametrize("name", FORMATS)
def test_same_bytes_as_the_writer(
    name: str, tmp_path: Path, vocabulary: Vocabulary, write: Callable[..., bytes]
) -> None:
    path = tmp_path / f"out{FORMATS[name].suffix}"
    chunks = stream([["a", "b"], [], ["c"]], vocabulary)
    found = convert(chunks, vocabulary, path, FORMATS[name], FormatSettings(scratch=tmp_path))
    assert path.read_bytes() == write(name, {letter: {3: 1} for letter in "abc"})
    assert found == Converted(3, 3, path.stat().st_size)
    assert list(tmp_path.iterdir()) == [path]


def test_duplicates(tmp_path: Path, vocabulary: Vocabulary) -> None:
    path = tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="document id 'b' occurs 2 times"):
        convert(stream([["a", "b"], ["c", "b"]], vocabulary), vocabulary, path, FORMATS["vespa"], FormatSettings())
    assert list(tmp_path.iterdir()) == []


def test_ids_of_equal_hash_are_compared(
    tmp_path: Path, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "hash", lambda name: 7, raising=False)
    path = tmp_path / "out.jsonl"
    convert(stream([["a", "b"], ["c"]], vocabulary), vocabulary, path, FORMATS["vespa"], FormatSettings())
    assert path.read_bytes().count(b"\n") == 3


def test_a_refused_document_leaves_nothing(tmp_path: Path, vocabulary: Vocabulary) -> None:
    path = tmp_path / "out.ndjson"
    with pytest.raises(InputError, match="longer than the 512 bytes"):
        convert(stream([["a"], ["x" * 600]], vocabulary), vocabulary, path, FORMATS["opensearch"], FormatSettings())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"npz", "parquet"}))
def test_gzip(name: str, tmp_path: Path, vocabulary: Vocabulary, write: Callable[..., bytes]) -> None:
    path = tmp_path / f"out{FORMATS[name].suffix}.gz"
    convert(stream([["a", "b"], ["c"]], vocabulary), vocabulary, path, FORMATS[name], FormatSettings())
    assert gzip.decompress(path.read_bytes()) == write(name, {letter: {3: 1} for letter in "abc"})
    assert path.read_bytes()[4:8] == bytes(4), "no time of day"


def test_zstandard(tmp_path: Path, vocabulary: Vocabulary) -> None:
    path = tmp_path / "out.jsonl.zst"
    with pytest.raises(OutputError, match="Zstandard is refused, because Anserini"):
        convert(stream([], vocabulary), vocabulary, path, FORMATS["anserini"], FormatSettings())
    with pytest.raises(OutputError, match=r"anserini files end in \.jsonl or \.jsonl\.gz"):
        convert(stream([], vocabulary), vocabulary, tmp_path / "out.txt", FORMATS["anserini"], FormatSettings())


@pytest.mark.parametrize("name", ["out", "out.json", "out.parquet.gz"])
def test_the_name_tells_the_format(name: str, tmp_path: Path, vocabulary: Vocabulary) -> None:
    with pytest.raises(OutputError, match=r"parquet files end in \.parquet"):
        convert(stream([], vocabulary), vocabulary, tmp_path / name, FORMATS["parquet"], FormatSettings())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists, and nothing is written over"), new_file(path):
        raise AssertionError
    path.unlink()
    with pytest.raises(OutputError, match="exists, and nothing is written over"), new_file(path):
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_has_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".file.partial").write_bytes(b"half a fi")
    with new_file(tmp_path / "file") as file:
        file.write(b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"whole")]


def test_two_at_a_time(tmp_path: Path) -> None:
    with (tmp_path / ".file.partial").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="being written by another process"), new_file(tmp_path / "file"):
            raise AssertionError


def test_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "file"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), new_file(tmp_path / "missing" / "file"):
        raise AssertionError


def test_formats_load_no_heavy_library() -> None:
    code = "import sys, lexlip_infer.formats; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numba", "pyarrow", "scipy", "onnxruntime", "torch"} & set(run.stdout.split())
