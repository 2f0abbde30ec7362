"""Sources and runs on a real model: ids stay with their vectors, whatever fails and however batches are cut."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import QuantisationSettings, reference
from lexlip_infer.pipeline.manifest import RunManifest
from lexlip_infer.pipeline.sources import EncodedBatch, ImageFolder, Source, TextFile

Run = Callable[..., RunManifest]


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


def vectors_of(batches: list[EncodedBatch]) -> SparseBatch:
    return SparseBatch.concatenate([batch.vectors for batch in batches if batch.vectors is not None])


def rows_near(a: SparseBatch, b: SparseBatch) -> bool:
    return np.allclose(a.to_dense(), b.to_dense(), atol=1e-4)


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
    encoder: LexLIPEncoder, photographs: Path, run: Run, tmp_path: Path
) -> None:
    ids = ["a.jpg", "b.png", "sub/c.JPG", "sub/deeper/d.webp", "z.bmp"]
    run(ImageFolder(photographs), tmp_path / "out", batch_size=5, items_per_shard=5, top_k=24)
    vectors = encoder.encode_images([photographs / name for name in ids], batch_size=5, top_k=24)
    assert written_lines(tmp_path / "out") == expected_lines(encoder, ids, vectors)


def test_failed_images_shift_nothing(encoder: LexLIPEncoder, damaged: Path, run: Run, tmp_path: Path) -> None:
    manifest = run(ImageFolder(damaged), tmp_path / "out", batch_size=3, items_per_shard=4, top_k=150)
    good = ["a.jpg", "b.png", "sub/c.JPG", "sub/deeper/d.webp", "z.bmp"]
    documents = [json.loads(line) for line in written_lines(tmp_path / "out")]
    assert [document["id"] for document in documents] == good
    assert (manifest.documents, manifest.failed) == (5, 4)
    for document in documents:
        alone = expected_lines(encoder, [document["id"]], encoder.encode_images([damaged / document["id"]], top_k=150))
        alone_vector = json.loads(alone[0])["vector"]
        assert document["vector"] == pytest.approx(alone_vector, abs=1)

    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_bytes().splitlines()]
    assert [(failure["id"], failure["stage"]) for failure in failures] == [
        ("aa.jpg", "decode"),
        ("ab.jpg", "decode"),
        ("caf\udce9.jpg", "list"),
        ("sub/empty.png", "decode"),
    ]
    for failure in failures:
        assert failure["path"] == str(damaged / failure["id"])
        assert str(damaged) not in failure["error"]


def test_every_image_failing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "in" / name).write_bytes(b"")
    manifest = run(ImageFolder(tmp_path / "in"), tmp_path / "out")
    assert (manifest.documents, manifest.failed, manifest.complete) == (0, 3, True)
    assert written_lines(tmp_path / "out") == []
    assert len((tmp_path / "out" / "failures.jsonl").read_text().splitlines()) == 3


def test_texts_keep_their_order(encoder: LexLIPEncoder, tmp_path: Path) -> None:
    texts = ["dog " * (number * 7 % 11) + f"green {number}" for number in range(40)]
    file = tmp_path / "texts.tsv"
    file.write_text("".join(f"id-{number}\t{text}\n" for number, text in enumerate(texts)))
    batches = list(TextFile(file).encode(encoder, slice(0, 40), batch_size=2, top_k=150))
    assert [name for batch in batches for name in batch.ids] == [f"id-{number}" for number in range(40)]
    assert len(batches) == 2
    one_by_one = encoder.encode_texts(texts, batch_size=1, top_k=150)
    assert rows_near(vectors_of(batches), one_by_one)
    assert not rows_near(vectors_of(batches), one_by_one[::-1])


def test_a_range_of_texts(encoder: LexLIPEncoder, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("a dog\n\na horse\na cat\n")
    (batch,) = TextFile(file).encode(encoder, slice(1, 9), batch_size=8, top_k=8)
    assert batch.ids == ["3", "4"]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_batch_size_changes_nothing_but_rounding(batch_size: int, encoder: LexLIPEncoder, photographs: Path) -> None:
    source = ImageFolder(photographs)
    batches = list(source.encode(encoder, slice(0, 5), batch_size, top_k=150))
    whole = list(source.encode(encoder, slice(0, 5), 5, top_k=150))
    assert [name for batch in batches for name in batch.ids] == whole[0].ids
    assert rows_near(vectors_of(batches), vectors_of(whole))


def test_fingerprint_of_images_is_of_their_names_and_sizes(photographs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(photographs, copy)
    (copy / "notes.txt").touch()
    assert ImageFolder(copy).fingerprint == ImageFolder(photographs).fingerprint
    (copy / "z.bmp").rename(copy / "y.bmp")
    assert ImageFolder(copy).fingerprint != ImageFolder(photographs).fingerprint
    (copy / "y.bmp").rename(copy / "z.bmp")
    shutil.copy(copy / "a.jpg", copy / "z.bmp")
    assert ImageFolder(copy).fingerprint != ImageFolder(photographs).fingerprint


def test_other_files_are_counted(photographs: Path, tmp_path: Path) -> None:
    shutil.copytree(photographs, tmp_path / "in")
    assert ImageFolder(tmp_path / "in").passed_over == ""
    (tmp_path / "in" / "a.svg").touch()
    assert ImageFolder(tmp_path / "in").passed_over == "1 other file passed over: 1 x .svg"
    for name in ("a.txt", "sub/b.TXT"):
        (tmp_path / "in" / name).touch()
    assert ImageFolder(tmp_path / "in").passed_over == "3 other files passed over: 2 x .txt, 1 x .svg"


def test_fingerprint_of_texts_is_of_ids_and_texts(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    fingerprints = set()
    for rows in ([("1", "a")], [("1", "b")], [("2", "a")], [("1", "a"), ("2", "a")], [("1", "\ud83d")]):
        file.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in rows))
        fingerprints.add(TextFile(file).fingerprint)
    assert len(fingerprints) == 5


def test_no_texts(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n \n")
    with pytest.raises(InputError, match=r"texts\.txt: no texts"):
        TextFile(tmp_path / "texts.txt")


def test_both_are_sources(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a\nb\n")
    both: list[Source] = [ImageFolder(photographs), TextFile(tmp_path / "texts.txt")]
    assert [source.count for source in both] == [5, 2]
