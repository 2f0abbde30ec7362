"""Photographs and their captions, whatever file they were read from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError

__all__ = ["CaptionedImages"]


@dataclass(frozen=True, slots=True)
class CaptionedImages:
    """Photographs and their captions.

    Attributes:
        images: N paths.
        captions: texts, those of one photograph adjacent.
        owner: for each caption, the row of its photograph.
    """

    images: tuple[Path, ...]
    captions: tuple[str, ...]
    owner: tuple[int, ...]

    @classmethod
    def from_rows(cls, rows: list[tuple[Path, list[str]]]) -> CaptionedImages:
        """Build it from photographs, each with its captions."""
        return cls(
            tuple(image for image, _ in rows),
            tuple(caption for _, captions in rows for caption in captions),
            tuple(number for number, (_, captions) in enumerate(rows) for _ in captions),
        )

    @classmethod
    def of_split(
        cls, rows: Iterable[tuple[str, list[str], str]], split: str, file: Path, images: Path | None
    ) -> CaptionedImages:
        """Build it from those rows (path, captions, split) of a file that are of one split.

        Args:
            rows: all of the file.
            split: to keep.
            file: that they come from.
            images: folder that paths are relative to; the file's own when absent.

        Raises:
            InputError: no row is of that split.
        """
        every = list(rows)
        kept = [((images or file.parent) / path, captions) for path, captions, its_split in every if its_split == split]
        if not kept:
            splits = sorted({its_split for *_, its_split in every})
            seen = f"there are {', '.join(map(repr, splits))}" if splits else "it has no images"
            raise InputError(f"{file}: no image of split {split!r}; {seen}")
        return cls.from_rows(kept)

    def captions_of(self) -> list[list[int]]:
        """For each photograph, the rows of its captions."""
        rows: list[list[int]] = [[] for _ in self.images]
        for caption, image in enumerate(self.owner):
            rows[image].append(caption)
        return rows

    def first_captions(self, count: int) -> CaptionedImages:
        """The same photographs with at most `count` captions each, the first ones."""
        kept = [[self.captions[row] for row in rows[:count]] for rows in self.captions_of()]
        return CaptionedImages.from_rows(list(zip(self.images, kept, strict=True)))

    def fold_of_images(self, folds: int) -> npt.NDArray[np.int64]:
        """For each photograph its fold, `folds` runs of equal length in file order.

        Raises:
            InputError: the photographs cannot be divided so.
        """
        if folds < 1 or len(self.images) % folds:
            raise InputError(f"{len(self.images)} photographs cannot be divided into {folds} equal folds")
        return np.arange(len(self.images)) // (len(self.images) // folds)

    def names(self) -> tuple[list[str], list[str]]:
        """Names of photographs and of captions: paths below the folder that all share, `path#n` for the n-th caption.

        They do not depend on where the data set lies, so that runs on different machines can be compared.

        Raises:
            InputError: a photograph is listed twice.
        """
        paths = [path.absolute() for path in self.images]
        common = os.path.commonpath([path.parent for path in paths])
        images = [path.relative_to(common).as_posix() for path in paths]
        if len(set(images)) < len(images):
            twice = next(name for name, count in Counter(images).items() if count > 1)
            raise InputError(f"{twice} is listed twice; expected one row a photograph, with all its captions")
        captions = [f"{images[image]}#{n}" for image, rows in enumerate(self.captions_of()) for n in range(len(rows))]
        return images, captions
