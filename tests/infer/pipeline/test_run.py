"""Runs on a real model: ids stay with their vectors, whatever fails, however batches are cut, on any lanes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.collection.manifest import RunManifest
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import QuantisationSettings, reference
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers import open_texts
from lexlip_infer.pipeline.progress import Observer
from lexlip_infer.pipeline.run import encode_collection
from lexlip_infer.pipeline.stages import PipelineOptions

Run = Callable[..., RunManifest]

NAMES = ["a.jpg", "b.png", "sub/c.JPG", "sub/deeper/d.webp", "z.bmp"]


def expected_lines(encoder: LexLIPEncoder, ids: list[str], vectors: SparseBatch) -> list[str]:
    matrix = reference.quantise(vectors, QuantisationSettings(100, 255, normalise=True))
    lines = []
    for row, name in enumerate(ids):
        terms, impacts = matrix.row(row)
        vector = {encoder.vocabulary.terms[term]: int(impact) for term, impact in zip(terms, impacts, strict=True)}
        document = {"id": name, "contents": "", "vector": vector}
        lines.append(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    return lines


def written_lines(output: Path) -> list[str]:
    return [line for part in sorted((output / "vectors").iterdir()) for line in part.read_text().split("\n")[:-1]]


def documents(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written_lines(output)]


@pytest.fixture
def damaged(photographs: Path, tmp_path: Path) -> Path:
    """The photographs, and one of each thing that is none."""
    root = tmp_path / "damaged"
    shutil.copytree(photographs, root)
    whole = (photographs / "a.jpg").read_bytes()
    (root / "aa.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "ab.jpg").write_text("no image at all")
    (root / "sub" / "empty.png").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.jpg")).write_bytes(whole)
    return root


def test_images_are_written_as_the_encoder_gives_them(
    encoder: LexLIPEncoder, photographs: Path, encode_images: Run, tmp_path: Path
) -> None:
    encode_images(photographs, tmp_path / "out", batch_size=5, items_per_shard=5, top_k=24)
    vectors = encoder.encode_images([photographs / name for name in NAMES], batch_size=5, top_k=24)
    assert written_lines(tmp_path / "out") == expected_lines(encoder, NAMES, vectors)


@pytest.mark.parametrize("decode_workers", [0, 2])
def test_failed_images_shift_nothing(
    decode_workers: int, encoder: LexLIPEncoder, damaged: Path, encode_images: Run, tmp_path: Path
) -> None:
    manifest = encode_images(
        damaged, tmp_path / "out", batch_size=3, items_per_shard=4, top_k=150, decode_workers=decode_workers
    )
    assert [document["id"] for document in documents(tmp_path / "out")] == NAMES
    assert (manifest.documents, manifest.failed) == (5, 4)
    for document in documents(tmp_path / "out"):
        alone = expected_lines(encoder, [document["id"]], encoder.encode_images([damaged / document["id"]], top_k=150))
        assert document["vector"] == pytest.approx(json.loads(alone[0])["vector"], abs=1)

    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_bytes().splitlines()]
    assert [(failure["id"], failure["stage"]) for failure in failures] == [
        ("aa.jpg", "decode"),
        ("ab.jpg", "decode"),
        ("caf\udce9.jpg", "read"),
        ("sub/empty.png", "decode"),
    ]
    for failure in failures:
        assert failure["path"] == str(damaged / failure["id"])
        assert str(damaged) not in failure["error"]


def test_every_image_failing(encode_images: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "in" / name).write_bytes(b"")
    manifest = encode_images(tmp_path / "in", tmp_path / "out")
    assert (manifest.documents, manifest.failed, manifest.complete) == (0, 3, True)
    assert written_lines(tmp_path / "out") == []
    assert len((tmp_path / "out" / "failures.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_batch_size_changes_nothing_but_rounding(
    batch_size: int, photographs: Path, encode_images: Run, tmp_path: Path
) -> None:
    encode_images(photographs, tmp_path / "one", batch_size=batch_size, top_k=150, items_per_shard=5)
    encode_images(photographs, tmp_path / "two", batch_size=5, top_k=150, items_per_shard=5)
    for one, two in zip(documents(tmp_path / "one"), documents(tmp_path / "two"), strict=True):
        assert one["id"] == two["id"]
        assert one["vector"] == pytest.approx(two["vector"], abs=1)


def test_lanes_and_devices_change_nothing(
    photographs: Path, encode_images: Run, contents: Callable[[Path], Any], tmp_path: Path
) -> None:
    encode_images(photographs, tmp_path / "one", batch_size=1)
    encode_images(photographs, tmp_path / "two", batch_size=1, lanes=3, encoders=2, decode_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("lanes", [1, 3])
def test_texts_keep_their_order(
    lanes: int, encoder: LexLIPEncoder, reader: Any, settings: Callable[..., Any], tmp_path: Path
) -> None:
    texts = ["dog " * (number * 7 % 11) + f"green {number}" for number in range(40)]
    items = [TextItem(f"id-{number}", "", text) for number, text in enumerate(texts)]
    items.insert(7, BadItem("bad", "there:8", "broken"))  # type: ignore[arg-type]
    made = settings(top_k=150, items_per_shard=38)
    manifest = encode_collection(
        [encoder], reader(items), tmp_path / "out", made, PipelineOptions(batch_size=2, lanes=lanes), Observer()
    )
    assert [shard.documents for shard in manifest.shards] == [37, 3]
    one_by_one = encoder.encode_texts(texts, batch_size=1, top_k=150)
    expected = expected_lines(encoder, [f"id-{number}" for number in range(40)], one_by_one)
    for written, line in zip(documents(tmp_path / "out"), map(json.loads, expected), strict=True):
        assert written["id"] == line["id"]
        assert written["vector"] == pytest.approx(line["vector"], abs=1)
    assert '"id": "bad", "path": "there:8"' in (tmp_path / "out" / "failures.jsonl").read_text()


def test_nothing_to_encode(reader: Any, run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the input holds nothing to encode"):
        run(reader([]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_reader_that_fails_at_once_leaves_nothing(encoder: LexLIPEncoder, run: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n \n")
    with pytest.raises(InputError, match=r"texts\.txt"):
        run(open_texts([str(tmp_path / "texts.txt")]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_more_is_read_than_the_window_holds(
    photographs: Path, reader: Any, encode_images: Run, tmp_path: Path
) -> None:
    ahead: list[int] = []

    class Watching(Observer):
        done = 0

        def advanced(self, done: int, failed: int) -> None:
            self.done = done

    observer = Watching()
    images = reader(
        [ImageItem(str(number), "", photographs / "b.png", 1) for number in range(100)],
        before=lambda number: ahead.append(number - observer.done),
    )
    encode_images(images, tmp_path / "out", batch_size=3, lanes=2, items_per_shard=100, observer=observer)
    assert observer.done == 100
    assert max(ahead) <= 3 * (2 * 2 + 2)


def test_timings(photographs: Path, encode_images: Run, tmp_path: Path) -> None:
    manifest = encode_images(photographs, tmp_path / "out")
    timings = manifest.timings
    assert timings is not None
    assert list(timings.stages) == ["read", "decode", "infer", "quantise", "write", "other"]
    assert sum(stage.share for stage in timings.stages.values()) == pytest.approx(1, abs=0.001)
    assert min(timings.stages[name].core_seconds for name in ("decode", "infer")) > 0
    again = encode_images(photographs, tmp_path / "out")
    assert again == manifest
