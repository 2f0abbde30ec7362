"""A folder with `captions.jsonl`: rows `{"image", "captions", "split"}`, read and refused as `lexlip eval` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lexlip_infer.datasets import read_captioned_images
from lexlip_training.data.pair_table import CaptionedSource

__all__ = ["read_captions_jsonl"]


def read_captions_jsonl(file: Path, root: Path, splits: tuple[str, ...]) -> Iterator[CaptionedSource]:
    """Images of the given splits, split after split, in file order.

    Args:
        file: the table.
        root: folder that image paths start from.
        splits: values of `split` to keep.

    Raises:
        InputError: the file is missing or malformed, or holds no row of one of the splits.
    """
    for split in splits:
        data = read_captioned_images(file, split)
        for image, rows in zip(data.images, data.captions_of(), strict=True):
            path = root / image.relative_to(file.parent) if image.is_relative_to(file.parent) else image
            yield CaptionedSource(str(path), tuple(data.captions[row] for row in rows))
