"""Commands run in this process, through the same entry as the installed ones: status, stdout and stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexlip_infer import LexLIPEncoder
from lexlip_infer.cli import encode, main

TEXTS = ["a black dog", "two children on a beach", "a red jacket", "snowy mountain", "coffee at a table", "a white cat"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int | str | None
    stdout: str
    stderr: str


Command = Callable[..., Outcome]


@pytest.fixture(scope="session")
def encoder(bundle_folder: Path) -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained(bundle_folder, threads=1)


@pytest.fixture
def lexlip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`lexlip("search", folder, "words")` and so on; `lexlip("encode", ...)` is `lexlip-encode`."""

    def command(*arguments: object) -> Outcome:
        name, *rest = map(str, arguments)
        prefix = ["lexlip-encode"] if name == "encode" else ["lexlip", name]
        monkeypatch.setattr(sys, "argv", [*prefix, *rest])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            (encode if name == "encode" else main).run()
        captured = capsys.readouterr()
        return Outcome(ended.value.code, captured.out, captured.err)

    return command


@pytest.fixture
def encoded(lexlip: Command, bundle_folder: Path, photographs: Path, tmp_path: Path) -> Path:
    """The photographs, encoded with all their terms in shards of two."""
    output = tmp_path / "encoded"
    outcome = lexlip(
        "encode", "--images", photographs, "--output", output, "--model", bundle_folder, "--top-k", 150,
        "--items-per-shard", 2,
    )  # fmt: skip
    assert outcome.status == 0, outcome.stderr
    return output


@pytest.fixture
def captions_file(tmp_path: Path) -> Path:
    """Twelve noisy images with one to three captions each, and one row of another split."""
    generator = np.random.default_rng(3)
    rows = []
    for number in range(12):
        Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        own = [f"{TEXTS[(number + i) % 6]} {TEXTS[number * 5 % 6]}" for i in range(1 + number % 3)]
        rows.append({"image": f"{number}.png", "captions": own, "split": "dev"})
    rows[0]["captions"] = ["a line\u2028separator stays inside"]
    rows.insert(4, {"image": "none.png", "captions": ["unused"], "split": "train"})
    file = tmp_path / "captions.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file
