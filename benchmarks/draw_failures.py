"""The photographs that a model's words describe worst, drawn, and who made them: for the model card.

    python benchmarks/draw_failures.py CAPTIONS.jsonl OUT.jpg [--model BUNDLE] [--split dev] [--count 6]

Ranked by what the best of a photograph's descriptions ranks it among all of the split, last first; nobody chooses, but
photographs that name somebody are left out by hand (--leave-out). Drawn are those whose own licence (`credit_license`)
is known and does not ask to share alike. Prints a Markdown list: description, rank, credit.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
import numpy as np

from lexlip_infer import LexLIPEncoder

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from draw_words import draw_words


def rows_of(captions: Path, split: str) -> list[dict[str, Any]]:
    """Rows of a split, images as absolute paths."""
    lines = [json.loads(line) for line in captions.read_text(encoding="utf-8").splitlines()]
    return [row | {"image": captions.parent / row["image"]} for row in lines if row.get("split") == split]


def best_ranks(encoder: LexLIPEncoder, rows: list[dict[str, Any]]) -> list[int]:
    """Of each photograph, counted from one."""
    images = encoder.encode_images([row["image"] for row in rows])
    scores = encoder.similarity(encoder.encode_texts([text for row in rows for text in row["captions"]]), images)
    own = np.repeat(np.arange(len(rows)), [len(row["captions"]) for row in rows])
    of_texts = 1 + (scores > scores[np.arange(len(own)), own][:, np.newaxis]).sum(axis=1)
    return [int(of_texts[own == number].min()) for number in range(len(rows))]


def may_be_drawn(row: dict[str, Any]) -> bool:
    """Whether its licence is known and asks for no more than a name."""
    licence = row.get("credit_license") or ""
    return bool(licence and row.get("credit")) and "ShareAlike" not in licence and "SA" not in licence


def main() -> None:
    """Draw and print."""
    parser = harness.options(__doc__ or "")
    parser.add_argument("captions", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--leave-out", action="append", default=[], metavar="NAME", help="file name, repeatable")
    given = parser.parse_args()
    encoder, rows = LexLIPEncoder.from_pretrained(given.model), rows_of(given.captions, given.split)
    ranked = sorted(zip(best_ranks(encoder, rows), range(len(rows)), strict=True), reverse=True)
    drawn = [row["image"].name not in given.leave_out and may_be_drawn(row) for row in rows]
    worst = [(rank, rows[number]) for rank, number in ranked if drawn[number]][: given.count]
    with tempfile.TemporaryDirectory() as folder:
        for place, (_, row) in enumerate(worst):
            Path(folder, f"{place:02d}{row['image'].suffix}").symlink_to(row["image"].resolve())
        draw_words(encoder, Path(folder), given.picture, words=5)
    for rank, row in worst:
        print(f"- “{row['captions'][0]}”: rank {rank} of {len(rows)}. {row['credit']}")


if __name__ == "__main__":
    main()
