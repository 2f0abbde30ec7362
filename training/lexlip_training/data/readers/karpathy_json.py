"""Karpathy's split files of COCO, Flickr30k and Flickr8k: `dataset_*.json`, one object of images with sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lexlip_kernels.errors import InputError
from lexlip_training.data.pair_table import CaptionedSource

__all__ = ["read_karpathy_json"]

_EXPECTED = (
    'expected {"images": [{"filename": …, "split": …, "sentences": [{"raw": …}]}]}, with "filepath" where images '
    "lie in folders"
)


def read_karpathy_json(file: Path, root: Path, splits: tuple[str, ...]) -> Iterator[CaptionedSource]:
    """Images of the given splits, in file order.

    Args:
        file: the split file.
        root: folder that `filepath`/`filename` starts from.
        splits: names to keep, such as "train" and "restval".

    Raises:
        InputError: it cannot be read, is malformed, or holds no image of those splits.
    """
    seen: set[str] = set()
    kept = False
    for number, image in enumerate(_images(file)):
        split, source = _image(f"{file}: image {number}", image, root)
        seen.add(split)
        if split in splits:
            kept = True
            yield source
    if not kept:
        raise InputError(
            f"{file}: no image of {', '.join(splits)}; there are {', '.join(sorted(seen)) or 'none at all'}"
        )


def _images(file: Path) -> list[object]:
    try:
        images = json.loads(file.read_bytes())["images"]
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{file}: not Karpathy's format; {_EXPECTED}") from None
    if not isinstance(images, list):
        raise InputError(f'{file}: "images" is no list; {_EXPECTED}')
    return images


def _image(place: str, image: object, root: Path) -> tuple[str, CaptionedSource]:
    try:
        assert isinstance(image, dict)
        cells = [image["split"], image.get("filepath", ""), image["filename"]]
        captions = [sentence["raw"] for sentence in image["sentences"]]
    except (AssertionError, KeyError, TypeError):
        raise InputError(f"{place}: malformed; {_EXPECTED}") from None
    if not captions or not all(isinstance(cell, str) for cell in cells + captions):
        raise InputError(f"{place}: no sentence, or something that is no string; {_EXPECTED}")
    split, folder, name = cells
    return split, CaptionedSource(str(root / folder / name), tuple(captions))
