"""The output folder: its layout, and what it refuses to continue."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.collection.collection import read_part
from lexlip_infer.collection.manifest import RunManifest
from lexlip_infer.errors import OutputError
from lexlip_infer.inputs.items import TextItem

Run = Callable[..., RunManifest]


@pytest.fixture
def finished(items: Any, run: Run, tmp_path: Path) -> Path:
    run(items, tmp_path / "out")
    return tmp_path / "out"


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_layout(finished: Path) -> None:
    files = sorted(path.relative_to(finished).as_posix() for path in finished.rglob("*"))
    shards = [f"vectors/part-{number:05d}.jsonl" for number in range(4)]
    assert files == ["failures.jsonl", "manifest.json", "vectors", *shards]


def test_manifest_counts(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_bytes())
    assert manifest["complete"] is True
    assert [(shard["documents"], shard["failed"], shard["empty"]) for shard in manifest["shards"]] == [
        (1, 1, 0),
        (2, 0, 1),
        (2, 0, 0),
        (0, 1, 0),
    ]
    for shard in manifest["shards"]:
        data = (finished / "vectors" / shard["name"]).read_bytes()
        vectors = [json.loads(line)["vector"] for line in data.splitlines()]
        assert shard["size"] == len(data)
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
        assert shard["impacts"] == sum(map(len, vectors))


def test_a_run_goes_on_from_nothing_but_what_was_written(finished: Path, items: Any, run: Run) -> None:
    part = finished / "vectors" / "part-00001.jsonl"
    part.write_bytes(part.read_bytes()[::-1])
    before = state(finished)
    with pytest.raises(OutputError, match=r"part-00001\.jsonl: missing or changed since it was written"):
        run(items, finished)
    assert state(finished) == before


def test_failures(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "failures.jsonl").read_bytes().splitlines()]
    assert rows == [
        {"id": f"item {row}\udce9", "path": f"/there/{row}", "stage": "read", "error": "broken"} for row in (1, 6)
    ]


def test_empty_vector_gets_the_placeholder(finished: Path, encoder: Any) -> None:
    lines = (finished / "vectors" / "part-00001.jsonl").read_bytes().splitlines()
    placeholder = encoder.vocabulary.terms[encoder.manifest.placeholder_id]
    assert json.loads(lines[1]) == {"id": "item 3", "contents": "", "vector": {placeholder: 1}}


def test_a_finished_run_again_touches_nothing(items: Any, run: Run, finished: Path) -> None:
    before = state(finished)
    manifest = run(items, finished)
    assert state(finished) == before
    assert (manifest.documents, manifest.failed) == (5, 2)


def test_batch_size_may_change_when_continuing(items: Any, run: Run, finished: Path) -> None:
    before = state(finished)
    run(items, finished, batch_size=7)
    assert state(finished) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top_k": 9}, "top_k was 8, now 9"),
        ({"scale": 50.0}, "scale was 100.0, now 50.0"),
        ({"items_per_shard": 3}, "items_per_shard was 2, now 3"),
        ({"model_fingerprint": "1", "cap": 100}, "; cap was 255, now 100"),
        ({"compress": "gz"}, "compress was none, now gz"),
        ({"shard_id": 1, "shard_num": 2}, "shard_id was 0, now 1; shard_num was 1, now 2"),
        ({"background": "black"}, "background was white, now black"),
        ({"precision": "int8"}, "(precision was f32, now int8); name a new folder"),
        ({"backend": "openvino", "head": "native"}, "backend was onnxruntime, now openvino; head was onnx, now native"),
        ({"device": "cuda"}, "device was cpu, now cuda"),
    ],
)
def test_other_settings(changes: dict[str, object], said: str, items: Any, run: Run, finished: Path) -> None:
    before = state(finished)
    with pytest.raises(OutputError, match=re.escape(said)) as raised:
        run(items, finished, **changes)
    assert "name a new folder" in str(raised.value)
    assert state(finished) == before


def test_a_run_from_before_there_was_a_choice_of_path_is_continued(items: Any, run: Run, finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_bytes())
    for name in ("device", "backend", "precision", "head"):
        del manifest["settings"][name]
    (finished / "manifest.json").write_text(json.dumps(manifest))
    run(items, finished)
    with pytest.raises(OutputError, match="head was onnx, now native"):
        run(items, finished, head="native")


def test_a_source_that_moved_is_the_same(items: Any, run: Run, finished: Path) -> None:
    before = state(finished)
    run(items, finished, source="/elsewhere", model="/elsewhere/model")
    assert state(finished) == before


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (lambda seven: seven[:6], "the texts changed since it began, first in part-00003.jsonl"),
        (lambda seven: seven[:5], "the texts changed since it began, first in part-00002.jsonl"),
        (lambda seven: seven[:4], "the texts changed since it began, first in part-00002.jsonl"),
        (lambda seven: seven[:3], "the texts changed since it began, first in part-00001.jsonl"),
        (lambda seven: [*seven, seven[0]], "the texts changed since it began, first in part-00003.jsonl"),
        (lambda seven: [TextItem("item 0", "", "9"), *seven[1:]], "first in part-00000.jsonl"),
        (lambda seven: [TextItem("item 9", "", "0"), *seven[1:]], "first in part-00000.jsonl"),
        (lambda seven: [*seven[:6], TextItem("item 6\udce9", "", "6")], "first in part-00003.jsonl"),
    ],
)
def test_items_that_changed(now: Any, said: str, items: Any, reader: Any, run: Run, finished: Path) -> None:
    before, changed = state(finished), reader(now([*items.items]))
    with pytest.raises(OutputError, match=re.escape(said)) as raised:
        run(changed, finished)
    assert "name a new folder" in str(raised.value)
    with pytest.raises(OutputError, match=re.escape("(source was /there, now /elsewhere)")):
        run(changed, finished, source="/elsewhere")
    assert state(finished) == before


def test_items_added_to_a_finished_run_of_whole_parts(numbered: Any, run: Run, tmp_path: Path) -> None:
    run(numbered(6), tmp_path / "out")
    before = state(tmp_path / "out")
    with pytest.raises(OutputError, match="the texts changed since it began, and there are more"):
        run(numbered(7), tmp_path / "out")
    assert state(tmp_path / "out") == before


def test_compressed(items: Any, contents: Any, run: Run, finished: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    manifest = run(items, packed, compress="gz")
    for shard in manifest.shards:
        data = (packed / "vectors" / shard.name).read_bytes()
        plain = (finished / "vectors" / shard.name.removesuffix(".gz")).read_bytes()
        assert shard.name.endswith(".jsonl.gz")
        assert (gzip.decompress(data), shard.sha256) == (plain, hashlib.sha256(data).hexdigest())
        assert b"".join(lines.data for lines in read_part(packed, shard)) == plain
        assert data[3:8] == bytes(5), "neither a name nor a time"
    run(items, tmp_path / "again", compress="gz")
    assert contents(tmp_path / "again") == contents(packed)


def remove_shard(folder: Path) -> None:
    (folder / "vectors" / "part-00001.jsonl").unlink()


def truncate_shard(folder: Path) -> None:
    shard = folder / "vectors" / "part-00001.jsonl"
    shard.write_bytes(shard.read_bytes()[:-5])


def add_shard(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "vectors" / name).write_text("")


def set_manifest(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "manifest.json").write_text(text)


def remove_failures(folder: Path) -> None:
    (folder / "failures.jsonl").unlink()


def shorten_failures(folder: Path) -> None:
    failures = folder / "failures.jsonl"
    failures.write_text(failures.read_text().splitlines(keepends=True)[0])


def lengthen_failures(folder: Path) -> None:
    with (folder / "failures.jsonl").open("a") as failures:
        failures.write("\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove_shard, r"part-00001\.jsonl: missing or changed .* encode again"),
        (truncate_shard, r"part-00001\.jsonl: missing or changed .* encode again"),
        (add_shard("part-00000.jsonl.gz"), r"part-00000\.jsonl\.gz: not written by this run, and Anserini would index"),
        (add_shard("part-00004.jsonl"), r"part-00004\.jsonl: not written by this run"),
        (add_shard(".DS_Store"), r"\.DS_Store: not written by this run"),
        (set_manifest("{"), r"manifest\.json: contents: Invalid JSON.*new folder"),
        (set_manifest(""), r"manifest\.json: contents: Invalid JSON.*new folder"),
        (set_manifest("[]"), r"manifest\.json: contents: .*object.*new folder"),
        (set_manifest('{"format_version": 2}'), r"manifest\.json: version: Field required.*new folder"),
        (set_manifest('{"format_version": 1, "past": 1}'), r"output format 1, of an older version; .* new folder"),
        (set_manifest('{"format_version": 3, "news": 1}'), r"output format 3; .* reads up to 2: pip install"),
        (remove_failures, r"failures\.jsonl: 0 bytes; the manifest counts 1\d\d: .* encode again"),
        (shorten_failures, r"failures\.jsonl: \d\d bytes; the manifest counts 1\d\d: "),
        (lengthen_failures, r"failures\.jsonl: 1\d\d bytes; the manifest counts 1\d\d: "),
    ],
)
def test_damaged_output(damage: Callable[[Path], object], said: str, items: Any, run: Run, finished: Path) -> None:
    damage(finished)
    before = state(finished)
    with pytest.raises(OutputError, match=said):
        run(items, finished)
    assert state(finished) == before


@pytest.mark.parametrize("name", ["notes.txt", "vectors/part-00000.jsonl", ".tmp/other", ".hidden"])
def test_foreign_folder(name: str, items: Any, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / name).parent.mkdir(parents=True)
    (output / name).write_text("mine")
    with pytest.raises(OutputError, match="exists and is not an output of lexlip-encode; name a new folder"):
        run(items, output)
    assert [path for path in output.rglob("*") if path.is_file()] == [output / name]


def test_output_is_a_file(items: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out: exists and is not an output"):
        run(items, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_output_below_a_file(items: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"cannot be written \(Not a directory\)"):
        run(items, tmp_path / "file" / "out")


def test_one_run_at_a_time(items: Any, numbered: Any, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    refusal = rf"another lexlip-encode is writing into {output}; wait for it or name another folder"

    def meddle(number: int) -> None:
        """Starts a second run from within the first."""
        if number == 6:
            with pytest.raises(OutputError, match=refusal):
                run(numbered(7), output)

    items.before = meddle
    assert run(items, output).complete
    run(numbered(7), tmp_path / "alone")
    assert [path.read_bytes() for path in sorted(output.glob("vectors/*"))] == [
        path.read_bytes() for path in sorted((tmp_path / "alone").glob("vectors/*"))
    ]


def test_a_file_system_without_locks(items: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert run(items, tmp_path / "out").complete


def test_empty_folder_is_taken(items: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run(items, tmp_path / "out").complete
