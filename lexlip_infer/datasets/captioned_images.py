"""Photographs and their captions, whatever file they were read from, and the protocols that say which of them count."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError

#: In place of an offset and a size: of an image that is a file of its own.
WHOLE_FILE = -1


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One photograph as a reader found it, not opened yet.

    Attributes:
        file: the image, or the archive that holds it.
        captions: what people wrote about it, at least one.
        offset: where its bytes begin in the archive; `WHOLE_FILE` without one.
        size: how many there are.
    """

    file: str
    captions: tuple[str, ...]
    offset: int = WHOLE_FILE
    size: int = WHOLE_FILE


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
    def together(cls, images: Iterable[CaptionedImage]) -> CaptionedImages:
        """Build it from photographs as a reader yields them, each a file of its own."""
        return cls.from_rows([(Path(image.file), list(image.captions)) for image in images])

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


@dataclass(frozen=True, slots=True)
class Protocol:
    """A small-scale protocol of the literature: what makes a figure comparable with those of papers.

    Attributes:
        name: of the protocol.
        images: photographs of the test split.
        folds: parts that are searched each for itself; figures are averaged over them.
        captions: of a photograph; further ones are left out.
    """

    name: str
    images: int
    folds: int = 1
    captions: int = 5

    def apply(self, data: CaptionedImages) -> CaptionedImages:
        """The captions that count.

        Raises:
            InputError: the number of photographs is another.
        """
        if len(data.images) != self.images:
            raise InputError(
                f"{self.name} is measured on {self.images:,} photographs, the file's split has {len(data.images):,}; "
                "give the test split, or leave --protocol out"
            )
        return data.first_captions(self.captions)


#: By name. COCO 1k is the average over five folds of the 5,000.
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("coco-5k", 5000),
        Protocol("coco-1k", 5000, folds=5),
        Protocol("flickr30k", 1000),
        Protocol("flickr8k", 1000),
    )
}
