"""An index that something has damaged, one whose writer was killed, and one that is read while it changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from lexlip_infer.errors import OutputError
from lexlip_infer.search.exact.building import IndexWriter, compact, delete, verify
from lexlip_infer.search.exact.engine import ExactEngine
from lexlip_kernels import ImpactMatrix

FILES = ("term_offsets", "posting_docs", "posting_impacts", "term_max_impacts", "id_offsets", "id_text")


def rows(number: int) -> ImpactMatrix:
    """Document i holds term 0, and term 1 + i % 3, with impact 1 + i % 5."""
    own = np.arange(number, dtype=np.int32)
    indices = np.stack([np.zeros(number, np.int32), 1 + own % 3], axis=1).ravel()
    return ImpactMatrix(np.arange(number + 1) * 2, indices, np.repeat(1 + own % 5, 2).astype(np.int32), 4)


QUERY = ImpactMatrix(np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.int32), 4)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    with IndexWriter(tmp_path / "idx", 4) as writer:
        writer.add([f"{i:04d}" for i in range(200)], rows(200))
        writer.commit()
    delete(tmp_path / "idx", ["0004"])
    return tmp_path / "idx"


@pytest.mark.parametrize("array", [*FILES, "deleted-000002"])
def test_a_truncated_or_missing_file(array: str, index: Path) -> None:
    file = index / "segments" / "000001" / f"{array}.npy"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    with pytest.raises(OutputError, match=rf"{array}\.npy: damaged \(.* bytes; it was written with .*build the index"):
        ExactEngine.open(index)
    file.unlink()
    with pytest.raises(OutputError, match=rf"{array}\.npy: missing; build the index again"):
        ExactEngine.open(index)


@pytest.mark.parametrize("array", [*FILES, "deleted-000002"])
def test_every_changed_byte_is_noticed_by_verify(array: str, index: Path) -> None:
    """And whatever the bytes are, a search returns or says what is wrong; it never leaves its arrays."""
    file = index / "segments" / "000001" / f"{array}.npy"
    data = file.read_bytes()
    random = np.random.default_rng(0)
    for at in [5, *random.integers(0, len(data), 12).tolist()]:
        changed = bytearray(data)
        changed[at] ^= int(random.integers(1, 256))
        file.write_bytes(changed)
        with pytest.raises(OutputError, match="damaged"):
            verify(index)
        try:
            ExactEngine.open(index).search(QUERY, 10)
        except OutputError as error:
            assert "damaged" in str(error)  # noqa: PT017


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format_version":2}', b"\xff"])
def test_a_manifest_that_is_none(content: bytes, index: Path) -> None:
    (index / "index.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"index\.json: damaged"):
        ExactEngine.open(index)
    with pytest.raises(OutputError, match=r"index\.json: damaged"):
        delete(index, ["0001"])


def test_an_edited_manifest_and_another_version(index: Path) -> None:
    manifest = json.loads((index / "index.json").read_bytes())
    (index / "index.json").write_text(json.dumps(manifest | {"vocab_size": 5}))
    with pytest.raises(OutputError, match="its checksum does not match"):
        ExactEngine.open(index)
    (index / "index.json").write_text(json.dumps({"format_version": 3, "something": "new"}))
    with pytest.raises(OutputError, match="index format 3; this version reads 2"):
        ExactEngine.open(index)


def test_a_damaged_vocabulary(index: Path) -> None:
    (index / "vocabulary.json").write_bytes((index / "vocabulary.json").read_bytes().replace(b"3", b"4"))
    with pytest.raises(OutputError, match=r"vocabulary\.json: damaged"):
        ExactEngine.open(index)


HEADER = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from lexlip_infer.search.exact.building import IndexWriter, append
    from lexlip_infer.search.exact.building import compact, delete
    from lexlip_infer.search.exact.engine import ExactEngine
    from lexlip_kernels import ImpactMatrix
    index = Path(sys.argv[1])
"""


def command(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(HEADER) + textwrap.dedent(code), *map(str, arguments)]


def status(code: str, *arguments: object) -> int:
    return subprocess.run(command(code, *arguments), check=False).returncode


KILLED = """
    calls = 0
    original = os.fsync
    def fsync(descriptor):
        global calls
        calls += 1
        if calls > int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        original(descriptor)
    os.fsync = fsync
"""


@pytest.mark.parametrize("syncs", [0, 1, 4, 8])
def test_a_build_that_is_killed(syncs: int, tmp_path: Path) -> None:
    code = """
        writer = IndexWriter(index, 4)
        writer.add(["a", "b"], ImpactMatrix(np.array([0, 1, 2]), np.zeros(2, np.int32), np.ones(2, np.int32), 4))
        writer.commit()
    """
    assert status(textwrap.dedent(KILLED) + textwrap.dedent(code), tmp_path / "idx", syncs) == -signal.SIGKILL
    with pytest.raises(OutputError, match="no index"):
        ExactEngine.open(tmp_path / "idx")
    with IndexWriter(tmp_path / "idx", 4) as writer:
        writer.add([f"{i:04d}" for i in range(3)], rows(3))
        writer.commit()
    verify(tmp_path / "idx")
    assert sorted(path.name for path in (tmp_path / "idx").iterdir()) == ["index.json", "segments", "vocabulary.json"]
    assert ExactEngine.open(tmp_path / "idx").documents == 3


@pytest.mark.parametrize("syncs", [0, 1, 2])
def test_a_deletion_that_is_killed(syncs: int, index: Path) -> None:
    assert status(textwrap.dedent(KILLED) + '\ndelete(index, ["0007"])\n', index, syncs) == -signal.SIGKILL
    verify(index)
    assert ExactEngine.open(index).documents == 199
    delete(index, ["0007"])
    verify(index)
    assert ExactEngine.open(index).documents == 198
    assert len(list((index / "segments" / "000001").glob("deleted-*"))) == 1
    assert not list(index.glob(".*"))


def test_readers_while_it_changes(index: Path, tmp_path: Path) -> None:
    """Documents come and go in pairs; no reader may ever see one without the other, or an error."""
    reader = """
        query = ImpactMatrix(np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.int32), 4)
        print("reading", flush=True)
        seen = set()
        while not (index.parent / "stop").exists():
            engine = ExactEngine.open(index)
            (ids,) = engine.search(query, 1000).ids
            assert len(ids) == engine.documents
            assert ids.count("pair-a") == ids.count("pair-b") <= 1
            assert len(set(ids)) == len(ids) == 199 + 2 * ids.count("pair-a")
            seen.add(len(ids))
        assert ExactEngine.open(index).documents in seen | {199}
        print(sorted(seen))
    """
    writer = """
        lines = index.parent / "pair.jsonl"
        lines.write_text("".join('{"id":"pair-%s","contents":"","vector":{"0":7}}\\n' % name for name in "ab"))
        for step in range(25):
            append(lines, index)
            if step % 5 == 0:
                compact(index)
            delete(index, ["pair-a", "pair-b"])
    """
    readers = [subprocess.Popen(command(reader, index), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in readers:
            assert process.stdout is not None
            assert process.stdout.readline() == "reading\n"
        assert status(writer, index) == 0
    finally:
        (tmp_path / "stop").touch()
    for process in readers:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "199" in output
        assert "201" in output
    verify(index)


@pytest.mark.parametrize("array", [*FILES, "deleted-000002"])
def test_compaction_does_not_make_damage_look_sound(array: str, index: Path) -> None:
    file = index / "segments" / "000001" / f"{array}.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    before = (index / "index.json").read_bytes()
    with pytest.raises(OutputError, match="damaged"):
        compact(index)
    assert (index / "index.json").read_bytes() == before


@pytest.mark.parametrize("name", ["vocabulary.json", "segments/000001/id_text.npy"])
def test_a_folder_in_place_of_a_file(name: str, index: Path) -> None:
    (index / name).unlink()
    (index / name).mkdir()
    for attempt in (ExactEngine.open, verify, compact):
        with pytest.raises(OutputError, match=rf"{name}: (cannot be read|damaged|is a folder)"):
            attempt(index)


@pytest.mark.parametrize(
    ("old", "new"), [("segments/000001/id_text.npy", "../secret.npy"), ('"name":"000001"', '"name":"../../.."')]
)
def test_a_manifest_that_leads_out_of_the_folder(old: str, new: str, index: Path) -> None:
    """Its checksum proves nothing: whoever makes an index can compute it."""
    text = json.dumps(json.loads((index / "index.json").read_bytes()), separators=(",", ":"))
    assert old in text
    (index / "index.json").write_text(text.replace(old, new))
    with pytest.raises(OutputError, match=r"index\.json: damaged \(segments\.0"):
        ExactEngine.open(index)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 10_000_000,
        b'{"format_version":' + b"9" * 5000 + b"}",
        b'{"format_version":-1}',
        b'{"format_version":1e999}',
        b'{"format_version":null}',
    ],
    ids=["nested", "huge", "negative", "infinite", "null"],
)
def test_a_hostile_manifest(content: bytes, index: Path) -> None:
    (index / "index.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"index\.json: (damaged|holds 10 MB)|index format") as refused:
        ExactEngine.open(index)
    assert len(str(refused.value)) < 500
