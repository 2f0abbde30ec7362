"""`captions.jsonl`: one photograph a line, `{"image", "captions", "split"}`."""

from __future__ import annotations

import json
from pathlib import Path

from lexlip_infer.datasets.captioned_images import CaptionedImages
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.lines import read_lines

__all__ = ["read_captioned_images"]


def read_captioned_images(file: Path, split: str, images: Path | None = None) -> CaptionedImages:
    """Read `captions.jsonl`: rows `{"image", "captions", "split"}`.

    Args:
        file: to read.
        split: rows to keep.
        images: folder that image paths are relative to; the file's own when absent.

    Raises:
        InputError: the file is missing or malformed (the message names the line), or no row is of that split.
    """
    rows = (_parse(f"{file}:{number}", line) for number, line in read_lines(file))
    return CaptionedImages.of_split(rows, split, file, images)


def _parse(place: str, line: str) -> tuple[str, list[str], str]:
    try:
        row = json.loads(line)
        image, captions, split = row["image"], row["captions"], row["split"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'{place}: expected a line {{"image": …, "captions": […], "split": …}}') from None
    if not isinstance(image, str) or not isinstance(split, str):
        raise InputError(f'{place}: "image" and "split" must be strings')
    if not isinstance(captions, list) or not captions or not all(isinstance(text, str) for text in captions):
        raise InputError(f'{place}: "captions" must be a list of at least one string')
    return image, captions, split
