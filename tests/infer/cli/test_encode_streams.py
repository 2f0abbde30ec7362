"""`lexlip-encode` among other programs: standard input and output, JSON reports, shares of a collection."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Encode = Callable[..., Any]


@pytest.fixture
def encode(lexlip: Callable[..., Any], bundle_folder: Path) -> Encode:
    """`encode(option, value, ...)` with the test's model."""

    def command(*options: object) -> Any:
        return lexlip("encode", "--model", bundle_folder, *options)

    return command


@pytest.fixture
def folder(photographs: Path, tmp_path: Path) -> Path:
    """Two good images around a damaged one."""
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "c.jpg"):
        (tmp_path / "in" / name).write_bytes((photographs / "a.jpg").read_bytes())
    (tmp_path / "in" / "b.jpg").write_bytes(b"damaged")
    return tmp_path / "in"


def lines(output: Path) -> str:
    return "".join(part.read_text() for part in sorted((output / "vectors").iterdir()))


def events(outcome: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.stderr.splitlines()]


def test_to_standard_output(encode: Encode, folder: Path, tmp_path: Path) -> None:
    assert encode("--images", folder, "--output", tmp_path / "out").status == 3
    outcome = encode("--images", folder, "--output", "-")
    assert (outcome.status, outcome.stdout) == (3, lines(tmp_path / "out"))
    failure, count = outcome.stderr.splitlines()
    assert failure == (tmp_path / "out" / "failures.jsonl").read_text().rstrip("\n")
    assert count == "1 failed"
    assert not Path("-").exists()


def test_from_standard_input(encode: Encode, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{folder / 'c.jpg'}\n{folder / 'a.jpg'}\n".encode()))
    )
    outcome = encode("--images", "-", "--output", "-")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert [Path(json.loads(line)["id"]).name for line in outcome.stdout.splitlines()] == ["c.jpg", "a.jpg"]


def test_log_json(encode: Encode, folder: Path, tmp_path: Path) -> None:
    outcome = encode("--images", folder, "--output", tmp_path / "out", "--log-json", "--items-per-shard", 2)
    assert (outcome.status, outcome.stdout) == (3, "")
    found = events(outcome)
    assert [event["event"] for event in found] == ["start", "failure", "shard", "progress", "shard", "done"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert [{key: event[key] for key in shard} for event, shard in zip(
        (event for event in found if event["event"] == "shard"), manifest["shards"], strict=True
    )] == manifest["shards"]  # fmt: skip
    progress, done = found[3], found[5]
    assert (progress["done"], progress["failed"], progress["total"], progress["eta_seconds"]) == (3, 1, 3, 0)
    assert progress["per_second"] > 0
    assert (done["documents"], done["failed"], done["parts"]) == (2, 1, 2)
    assert list(done["timings"]["stages"]) == ["read", "decode", "infer", "quantise", "write", "other"]
    assert found[1]["id"] == "b.jpg"

    again = events(encode("--images", folder, "--output", tmp_path / "out", "--log-json", "--items-per-shard", 2))
    assert [(event["event"], event.get("done")) for event in again] == [("start", 3), ("done", None)]


def test_log_json_of_standard_output(encode: Encode, folder: Path) -> None:
    outcome = encode("--images", folder, "--output", "-", "--log-json")
    assert [event["event"] for event in events(outcome)] == ["start", "failure", "progress", "done"]
    assert len(outcome.stdout.splitlines()) == 2


def test_shares(encode: Encode, photographs: Path, tmp_path: Path) -> None:
    options = ("--images", photographs, "--items-per-shard", 2, "--batch-size", 2)
    assert encode(*options, "--output", tmp_path / "whole").status == 0
    parts: dict[str, bytes] = {}
    for number in range(2):
        output = tmp_path / str(number)
        assert encode(*options, "--output", output, "--shard-id", number, "--shard-num", 2).status == 0
        parts |= {path.name: path.read_bytes() for path in (output / "vectors").iterdir()}
    assert parts == {path.name: path.read_bytes() for path in (tmp_path / "whole" / "vectors").iterdir()}
    assert len(parts) == 3


def test_compressed_parts_are_searched(
    encode: Encode, lexlip: Callable[..., Any], photographs: Path, tmp_path: Path
) -> None:
    encode("--images", photographs, "--output", tmp_path / "plain")
    encode("--images", photographs, "--output", tmp_path / "packed", "--compress", "gz")
    assert [path.name for path in (tmp_path / "packed" / "vectors").iterdir()] == ["part-00000.jsonl.gz"]
    plain, packed = (
        lexlip("search", tmp_path / name, "--image", photographs / "a.jpg", "--json") for name in ("plain", "packed")
    )
    assert plain.status == 0
    assert packed == plain
    assert lexlip("check", tmp_path / "packed").status == lexlip("check", tmp_path / "plain").status == 0


def test_interrupted(encode: Encode, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lexlip_infer.pipeline.stages import LineMaker

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LineMaker, "__call__", interrupt)
    arguments = ("--images", folder, "--output", tmp_path / "out")
    said = f"interrupted; the same command continues {tmp_path / 'out'} where it stopped\n"
    outcome = encode(*arguments)
    assert (outcome.status, outcome.stderr) == (130, said)
    assert [event["event"] for event in events(encode(*arguments, "--log-json"))] == ["start", "interrupted"]
    assert encode("--images", folder, "--output", "-").stderr == "interrupted\n"
    monkeypatch.undo()
    outcome = encode(*arguments)
    assert (outcome.status, len(lines(tmp_path / "out").splitlines())) == (3, 2)


def test_truncated_images_that_are_accepted(encode: Encode, folder: Path, photographs: Path, tmp_path: Path) -> None:
    whole = (photographs / "z.bmp").read_bytes()
    (folder / "d.bmp").write_bytes(whole[: len(whole) // 2])
    assert encode("--images", folder, "--output", tmp_path / "strict").stderr.splitlines()[-1].startswith("2 failed")
    output = tmp_path / "out"
    for _ in range(2):
        outcome = encode("--images", folder, "--output", output, "--truncated", "accept", "--items-per-shard", 1)
        assert outcome.stderr.splitlines()[-2:] == [
            f"1 break off and were accepted, listed in {output / 'truncated.jsonl'}",
            f"1 failed, listed in {output / 'failures.jsonl'}",
        ]
        (note,) = map(json.loads, (output / "truncated.jsonl").read_text().splitlines())
        assert (note["id"], note["path"]) == ("d.bmp", str(folder / "d.bmp"))
        assert "of the picture is missing" in note["error"]
        assert [json.loads(line)["id"] for line in lines(output).splitlines()] == ["a.jpg", "c.jpg", "d.bmp"]
    log = events(encode("--images", folder, "--output", "-", "--truncated", "accept", "--log-json"))
    assert [event["id"] for event in log if event["event"] == "truncated"] == ["d.bmp"]


def test_a_bar_on_a_terminal(encode: Encode, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    outcome = encode("--images", folder, "--output", tmp_path / "out")
    assert outcome.status == 3
    assert "3/3" in outcome.stderr
    assert "1 failed" in outcome.stderr.split("2 images in 1 part file")[0]
