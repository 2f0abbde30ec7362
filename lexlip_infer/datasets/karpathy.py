"""Karpathy's JSON (`dataset_coco.json`, `dataset_flickr30k.json`, `dataset_flickr8k.json`): the splits that papers use.

    {"images": [{"filename", "filepath"?, "split", "sentences": [{"raw"}, …]}, …], "dataset": …}

COCO's `filepath` is the folder of the image, val2014 or train2014.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lexlip_infer.datasets.captioned_images import CaptionedImages
from lexlip_infer.errors import InputError

__all__ = ["read_karpathy"]


def read_karpathy(file: Path, split: str, images: Path | None = None) -> CaptionedImages:
    """Read one split.

    Args:
        file: to read.
        split: images to keep.
        images: folder that image paths are relative to; the file's own when absent.

    Raises:
        InputError: the file is missing or malformed (the message names the image), or no image is of that split.
    """
    rows = (_parse(f"{file}: images[{number}]", entry) for number, entry in enumerate(_entries(file)))
    return CaptionedImages.of_split(rows, split, file, images)


def _entries(file: Path) -> list[Any]:
    try:
        entries = json.loads(file.read_bytes())["images"]
        if not isinstance(entries, list):
            raise TypeError
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'{file}: expected Karpathy\'s JSON, {{"images": [{{"filename", "split", …}}]}}') from None
    return entries


def _parse(place: str, entry: Any) -> tuple[str, list[str], str]:
    try:
        folder, name, split = entry.get("filepath", ""), entry["filename"], entry["split"]
        captions = [sentence["raw"] for sentence in entry["sentences"]]
    except (KeyError, TypeError, AttributeError):
        raise InputError(f'{place}: expected {{"filename", "split", "sentences": [{{"raw"}}]}}') from None
    if not captions or not all(isinstance(text, str) for text in (folder, name, split, *captions)):
        raise InputError(f"{place}: file name, split and at least one sentence must be strings")
    return f"{folder}/{name}" if folder else name, captions, split
