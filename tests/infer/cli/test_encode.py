"""`lexlip-encode`: what its options do, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer import LexLIPEncoder
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_infer.pipeline import encode as pipeline
from lexlip_infer.pipeline.stages import PipelineOptions


def documents(output: Path) -> list[dict[str, Any]]:
    parts = sorted((output / "vectors").iterdir())
    return [json.loads(line) for part in parts for line in part.read_bytes().splitlines()]


def shards(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (output / "vectors").iterdir()}


@pytest.fixture
def encode(lexlip: Callable[..., Any], bundle_folder: Path, photographs: Path) -> Callable[..., Any]:
    """`encode(output, option, value, ...)` on the photographs."""

    def command(output: Path, *options: object) -> Any:
        return lexlip("encode", "--images", photographs, "--output", output, "--model", bundle_folder, *options)

    return command


def test_a_scale_that_makes_ones_of_weights(encode: Callable[..., Any], encoder: LexLIPEncoder, tmp_path: Path) -> None:
    """Of unit vectors at a scale of 1, most weights would round to 0; the run says so, and so does its manifest."""
    outcome = encode(tmp_path / "out", "--quant-scale", 1)
    said = re.search(r"warning: (\d+)% of the kept terms have weights that the scale makes less than 1", outcome.stderr)
    assert said is not None
    parts = json.loads((tmp_path / "out" / "manifest.json").read_text())["shards"]
    lifted, stored = sum(part["lifted"] for part in parts), sum(part["impacts"] for part in parts)
    assert said[1] == f"{100 * lifted / stored:.0f}"
    impacts = [value for document in documents(tmp_path / "out") for value in document["vector"].values()]
    assert 0.05 * len(impacts) < lifted <= impacts.count(1)
    log = encode(tmp_path / "log", "--quant-scale", 1, "--log-json").stderr.splitlines()
    assert json.loads(log[-1])["lifted_share"] == pytest.approx(lifted / stored, abs=1e-4)
    stream = encode("-", "--quant-scale", 1)
    assert said[0] in stream.stderr
    enough = encode(tmp_path / "enough", "--quant-scale", 10_000)
    assert "warning" not in enough.stderr
    assert "lifted" not in json.loads((tmp_path / "enough" / "manifest.json").read_text())["shards"][0]


def test_defaults(encode: Callable[..., Any], encoder: LexLIPEncoder, tmp_path: Path) -> None:
    outcome = encode(tmp_path / "out")
    assert (outcome.status, outcome.stdout) == (0, "")
    assert outcome.stderr == f"5 images in 1 part file, 0.0 MB: {tmp_path / 'out' / 'vectors'}\n"
    assert [path.name for path in (tmp_path / "out" / "vectors").iterdir()] == ["part-00000.jsonl"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["failures.jsonl", "manifest.json", "vectors"]
    found = documents(tmp_path / "out")
    assert [document["id"] for document in found] == ["a.jpg", "b.png", "sub/c.JPG", "sub/deeper/d.webp", "z.bmp"]
    assert {len(document["vector"]) for document in found} == {encoder.manifest.top_k.image}


def test_same_bytes_twice(encode: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert encode(tmp_path / name, "--items-per-shard", 2).status == 0
    assert shards(tmp_path / "one") == shards(tmp_path / "two")
    assert sorted(shards(tmp_path / "one")) == ["part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]


def test_again(encode: Callable[..., Any], tmp_path: Path) -> None:
    first = encode(tmp_path / "out")
    before = [path.stat().st_mtime_ns for path in sorted((tmp_path / "out").rglob("*"))]
    again = encode(tmp_path / "out")
    assert again == first
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "out").rglob("*"))] == before


def test_top_k(encode: Callable[..., Any], tmp_path: Path) -> None:
    encode(tmp_path / "three", "--top-k", 3)
    encode(tmp_path / "all", "--top-k", 1000)
    few, many = documents(tmp_path / "three"), documents(tmp_path / "all")
    assert {len(document["vector"]) for document in few} == {3}
    assert json.loads((tmp_path / "all" / "manifest.json").read_bytes())["settings"]["top_k"] == 150
    for three, whole in zip(few, many, strict=True):
        impacts = sorted(whole["vector"].values(), reverse=True)
        assert min(whole["vector"][term] for term in three["vector"]) >= impacts[3] - 1


def test_quant_scale(encode: Callable[..., Any], tmp_path: Path) -> None:
    encode(tmp_path / "usual")
    encode(tmp_path / "half", "--quant-scale", 50)
    for usual, half in zip(documents(tmp_path / "usual"), documents(tmp_path / "half"), strict=True):
        assert half["vector"] == pytest.approx({term: value / 2 for term, value in usual["vector"].items()}, abs=0.76)
    assert json.loads((tmp_path / "half" / "manifest.json").read_bytes())["settings"]["scale"] == 50


def test_numbers_reach_the_work(encode: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[int, PipelineOptions]] = []
    original = pipeline.encode_collection

    def spy(encoders: Any, reader: Any, output: Any, settings: Any, options: Any, observer: Any) -> Any:
        seen.append((encoders[0].threads, options))
        return original(encoders, reader, output, settings, options, observer)

    monkeypatch.setattr(pipeline, "encode_collection", spy)
    assert encode(tmp_path / "one", "--threads", 3, "--batch-size", 4).status == 0
    assert encode(tmp_path / "two", "--threads", 5, "--lanes", 2, "--decode-workers", 0).status == 0
    assert encode(tmp_path / "three", "--threads", 99, "--decode-timeout", 7).status == 0
    assert [(threads, options.batch_size, options.lanes, options.decode_workers) for threads, options in seen] == [
        (1, 4, 3, 3),
        (2, 16, 2, 0),
        (6, 16, 16, 99),
    ]
    assert [options.decode_timeout for _, options in seen] == [30, 30, 7]


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        (
            "t.jsonl",
            '{"id": "x", "text": "a dog"}\n{"id": 7, "text": "half \\ud83d a pair"}\n{"id": "y", "text": ""}\n',
        ),
        ("t.tsv", "x\ta dog\n7\ta cat\ny\t\n"),
        ("t.txt", "a dog\n\na horse near the water\nshort\n"),
    ],
)
def test_texts(name: str, contents: str, lexlip: Any, bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(contents)
    output = tmp_path / "out"
    outcome = lexlip("encode", "--texts", tmp_path / name, "--output", output, "--model", bundle_folder)
    assert outcome.status == 0
    assert [document["id"] for document in documents(output)] == (
        ["1", "3", "4"] if name == "t.txt" else ["x", "7", "y"]
    )


def test_failures(lexlip: Any, bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    whole = (photographs / "a.jpg").read_bytes()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(whole)
    (folder / "good.jpg").write_bytes(whole)
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    arguments = ("encode", "--images", folder, "--output", output, "--model", bundle_folder)
    outcome = lexlip(*arguments)
    assert outcome.status == 3
    assert outcome.stderr.splitlines()[1:] == [f"2 failed, listed in {output / 'failures.jsonl'}"]
    assert [document["id"] for document in documents(output)] == ["good.jpg"]
    assert len((output / "failures.jsonl").read_text().splitlines()) == 2
    assert lexlip(*arguments) == outcome


def test_other_files_are_reported_once(
    lexlip: Callable[..., Any], bundle_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((photographs / "a.jpg").read_bytes())
    for name in ("a.txt", "b.txt", "c.svg"):
        (folder / name).touch()
    os.mkfifo(folder / "b.jpg")
    outcome = lexlip("encode", "--images", folder, "--output", output, "--model", bundle_folder)
    assert outcome.status == 0
    assert outcome.stderr.splitlines()[1:] == ["4 other files passed over: 2 x .txt, 1 x .svg, 1 x no regular file"]


def test_a_folder_that_moved_continues(
    lexlip: Callable[..., Any], bundle_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(photographs, tmp_path / "in")
    assert lexlip("encode", "--images", tmp_path / "in", "--output", output, "--model", bundle_folder).status == 0
    (tmp_path / "in").rename(tmp_path / "moved")
    arguments = ("encode", "--images", tmp_path / "moved", "--output", output, "--model", bundle_folder)
    assert lexlip(*arguments).status == 0
    shutil.copy(tmp_path / "moved" / "a.jpg", tmp_path / "moved" / "z.bmp")
    assert lexlip(*arguments).status == 2


def test_images_that_changed(
    lexlip: Callable[..., Any], bundle_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(photographs, tmp_path / "in")
    arguments = ("encode", "--images", tmp_path / "in", "--output", output, "--model", bundle_folder)
    assert lexlip(*arguments).status == 0
    shutil.copy(tmp_path / "in" / "a.jpg", tmp_path / "in" / "new.jpg")
    outcome = lexlip(*arguments)
    assert outcome.status == 2
    assert outcome.stderr == (
        f"lexlip-encode: {output}: holds the output of another run (the images (names or sizes) changed since it "
        "began, first in part-00000.jsonl); name a new folder\n"
    )


def test_a_folder_whose_name_is_not_utf8(lexlip: Any, bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "a.jpg").write_bytes((photographs / "a.jpg").read_bytes())
    arguments = ("encode", "--images", folder, "--output", tmp_path / "out", "--model", bundle_folder)
    assert lexlip(*arguments).status == 0
    settings = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["settings"]
    assert settings["source"] == f"{tmp_path}/caf\\xe9"
    assert lexlip(*arguments).status == 0


def test_a_bug_of_ours_is_not_dressed_up(
    encode: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(self: object, image: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ImagePreprocessor, "__call__", broken)
    with pytest.raises(ZeroDivisionError):
        encode(tmp_path / "out")
