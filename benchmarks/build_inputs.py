"""What `compare_builds.py` gives both builds: photographs, captions, and what is derived from them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLASSES = ("dog", "girl", "boy", "man", "woman", "water", "snow", "street")


@dataclass(frozen=True)
class Inputs:
    """What both builds are given, made once.

    Attributes:
        folder: holds `images/`, `captions.jsonl`, `texts.jsonl`, `qrels.txt`, `classes/` and `odd/`.
        images: how many there are.
    """

    folder: Path
    images: int

    def __truediv__(self, name: str) -> str:
        return str(self.folder / name)


def prepare(captions: Path, folder: Path, images: int, texts: int) -> Inputs:
    """Copy photographs and captions, and derive the rest from them."""
    inputs = Inputs(folder, images)
    rows = [json.loads(line) for line in captions.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [row for row in rows if row.get("split") == "dev"][:images]
    if (folder / "complete").exists():
        return inputs
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    for row in rows:
        shutil.copy(captions.parent / row["image"], folder / "images")
    asked = [
        (f"{Path(row['image']).name}#{number}", text, Path(row["image"]).name)
        for row in rows
        for number, text in enumerate(row["captions"])
    ][:texts]
    _write_lines(folder / "captions.jsonl", (row | {"image": f"images/{Path(row['image']).name}"} for row in rows))
    _write_lines(folder / "texts.jsonl", ({"id": name, "text": text} for name, text, _ in asked))
    (folder / "qrels.txt").write_text("".join(f"{name} 0 {image} 1\n" for name, _, image in asked))
    _make_classes(rows, folder)
    _make_odd(folder)
    (folder / "complete").touch()
    return inputs


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


def _make_classes(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """A photograph belongs to the first of the words that its captions hold."""
    for row in rows:
        words = set(re.findall(r"\w+", " ".join(row["captions"]).lower()))
        label = next((word for word in CLASSES if word in words), None)
        if label is not None:
            (folder / "classes" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "images" / Path(row["image"]).name, folder / "classes" / label)


def _make_odd(folder: Path) -> None:
    """Photographs of which every fifth breaks off and one is none; JSON lines that Anserini reads in its own way."""
    (folder / "odd").mkdir()
    for number, path in enumerate(sorted((folder / "images").iterdir())[:20]):
        data = path.read_bytes()
        (folder / "odd" / path.name).write_bytes(data[: len(data) // 2] if number % 5 == 2 else data)
    (folder / "odd" / "none.jpg").write_bytes(b"no photograph")
    lines = (
        '{"id":"a","contents":"","vector":{"dog":3.0,"cat":2}}\n{"id":"b","contents":"","vector":{"dog":0.5}}\n'
        '{"id":"c","contents":"","vector":{}}\n{"id":"a","contents":"","vector":{"two words":1,"dog":0}}\n'
    )
    (folder / "odd.jsonl").write_text(lines)
