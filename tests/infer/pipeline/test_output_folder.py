"""The output folder: its layout, and what it refuses to continue."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer.errors import OutputError
from lexlip_infer.pipeline.manifest import RunManifest
from lexlip_infer.pipeline.sources import Source

Run = Callable[..., RunManifest]


@pytest.fixture
def finished(ready_vectors: Source, run: Run, tmp_path: Path) -> Path:
    run(ready_vectors, tmp_path / "out")
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


def test_failures(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "failures.jsonl").read_bytes().splitlines()]
    assert rows == [
        {"id": f"item {row}\udce9", "path": f"/there/{row}", "stage": "decode", "error": "broken"} for row in (1, 6)
    ]


def test_empty_vector_gets_the_placeholder(finished: Path, encoder: Any) -> None:
    lines = (finished / "vectors" / "part-00001.jsonl").read_bytes().splitlines()
    placeholder = encoder.vocabulary.terms[encoder.manifest.placeholder_id]
    assert json.loads(lines[1]) == {"id": "item 3", "contents": "", "vector": {placeholder: 1}}


def test_a_finished_run_again_touches_nothing(ready_vectors: Source, run: Run, finished: Path) -> None:
    before = state(finished)
    manifest = run(ready_vectors, finished)
    assert state(finished) == before
    assert (manifest.documents, manifest.failed) == (5, 2)


def test_batch_size_may_change_when_continuing(ready_vectors: Source, run: Run, finished: Path) -> None:
    before = state(finished)
    run(ready_vectors, finished, batch_size=7)
    assert state(finished) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top_k": 9}, "top_k was 8, now 9"),
        ({"scale": 50.0}, "scale was 100.0, now 50.0"),
        ({"items_per_shard": 3}, "items_per_shard was 2, now 3"),
        ({"source": "/elsewhere", "source_fingerprint": "1"}, "(source was /there, now /elsewhere)"),
        ({"source_fingerprint": "1"}, "(the texts changed since it began: 7 then, 7 now); name"),
        ({"source_fingerprint": "1", "source_count": 1200}, "(the texts changed since it began: 7 then, 1,200 now)"),
        ({"model_fingerprint": "1", "cap": 100}, "; cap was 255, now 100"),
        ({"precision": "int8"}, "(precision was f32, now int8); name a new folder"),
        ({"backend": "openvino", "head": "native"}, "backend was onnxruntime, now openvino; head was onnx, now native"),
        ({"device": "cuda"}, "device was cpu, now cuda"),
    ],
)
def test_other_settings(changes: dict[str, object], said: str, ready_vectors: Source, run: Run, finished: Path) -> None:
    before = state(finished)
    with pytest.raises(OutputError, match=re.escape(said)) as raised:
        run(ready_vectors, finished, **changes)
    assert "name a new folder" in str(raised.value)
    assert state(finished) == before


def test_a_run_from_before_there_was_a_choice_of_path_is_continued(
    ready_vectors: Source, run: Run, finished: Path
) -> None:
    manifest = json.loads((finished / "manifest.json").read_bytes())
    for name in ("device", "backend", "precision", "head"):
        del manifest["settings"][name]
    (finished / "manifest.json").write_text(json.dumps(manifest))
    run(ready_vectors, finished)
    with pytest.raises(OutputError, match="head was onnx, now native"):
        run(ready_vectors, finished, head="native")


def test_a_source_that_moved_is_the_same(ready_vectors: Source, run: Run, finished: Path) -> None:
    before = state(finished)
    run(ready_vectors, finished, source="/elsewhere", model="/elsewhere/model")
    assert state(finished) == before


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


def garble_failures(folder: Path) -> None:
    (folder / "failures.jsonl").write_text('{"id": 1}\n[]\n')


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
        (set_manifest('{"format_version": 1}'), r"manifest\.json: version: Field required.*new folder"),
        (set_manifest('{"format_version": 2, "news": 1}'), r"output format 2; .* reads up to 1: pip install"),
        (remove_failures, r"failures\.jsonl: cannot be read back"),
        (shorten_failures, r"failures\.jsonl: 1 lines; the manifest counts 2"),
        (garble_failures, r"failures\.jsonl: cannot be read back"),
    ],
)
def test_damaged_output(
    damage: Callable[[Path], object], said: str, ready_vectors: Source, run: Run, finished: Path
) -> None:
    damage(finished)
    before = state(finished)
    with pytest.raises(OutputError, match=said):
        run(ready_vectors, finished)
    assert state(finished) == before


@pytest.mark.parametrize("name", ["notes.txt", "vectors/part-00000.jsonl", ".tmp/other", ".hidden"])
def test_foreign_folder(name: str, ready_vectors: Source, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / name).parent.mkdir(parents=True)
    (output / name).write_text("mine")
    with pytest.raises(OutputError, match="exists and is not an output of lexlip-encode; name a new folder"):
        run(ready_vectors, output)
    assert [path for path in output.rglob("*") if path.is_file()] == [output / name]


def test_output_is_a_file(ready_vectors: Source, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out: exists and is not an output"):
        run(ready_vectors, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_output_below_a_file(ready_vectors: Source, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"cannot be written \(Not a directory\)"):
        run(ready_vectors, tmp_path / "file" / "out")


def test_one_run_at_a_time(ready_vectors: Source, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    refusal = rf"another lexlip-encode is writing into {output}; wait for it or name another folder"

    class Meddling(type(ready_vectors)):  # type: ignore[misc]
        """Starts a second run from within the first."""

        def encode(self, *arguments: Any) -> Any:
            with pytest.raises(OutputError, match=refusal):
                run(ready_vectors, output)
            return super().encode(*arguments)

    assert run(Meddling(ready_vectors.vocab_size), output).complete  # type: ignore[attr-defined]
    run(ready_vectors, tmp_path / "alone")
    assert [path.read_bytes() for path in sorted(output.glob("vectors/*"))] == [
        path.read_bytes() for path in sorted((tmp_path / "alone").glob("vectors/*"))
    ]


def test_a_file_system_without_locks(
    ready_vectors: Source, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert run(ready_vectors, tmp_path / "out").complete


def test_empty_folder_is_taken(ready_vectors: Source, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run(ready_vectors, tmp_path / "out").complete
