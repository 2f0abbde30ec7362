"""A single image file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.inputs.items import BadItem, ImageItem
from lexlip_infer.inputs.readers.folder import image_item
from lexlip_infer.inputs.readers.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.inputs.readers.files import Files

__all__ = ["OneImage"]


class OneImage(Source[ImageItem]):
    """One image, whose id is its name."""

    ids_are_unique = True

    def __init__(self, files: Files) -> None:
        super().__init__()
        self._files = files

    @property
    def count(self) -> int:
        """One."""
        return 1

    def check(self) -> None:
        """Nothing: that it exists is known, and decoding tells the rest."""

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        """The image."""
        return (image_item(name, place) for name, place in self._files)
