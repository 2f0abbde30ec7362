"""Every frame of every animation as an item of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_infer.inputs.frames import Frame, count_frames
from lexlip_infer.inputs.items import BadItem, ImageItem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.inputs.items import Reader

__all__ = ["AllFrames"]


class AllFrames:
    """A reader of images whose animations are taken apart: frame N, from 0, has the id `ID#frame=N`.

    An image that is no animation keeps its id. Frames are counted here, which reads each file once; they are decoded by
    whoever decodes.
    """

    count = None

    def __init__(self, reader: Reader[ImageItem]) -> None:
        self._reader = reader

    @property
    def passed_over(self) -> str:
        """As of the reader."""
        return self._reader.passed_over

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        """In the reader's order, frames in theirs."""
        for item in self._reader:
            if (
                isinstance(item, BadItem)
                or isinstance(item.source, Frame)
                or (frames := count_frames(item.source)) == 1
            ):
                yield item
                continue
            for number in range(frames):
                suffix = f"#frame={number}"
                yield ImageItem(item.id + suffix, item.origin + suffix, Frame(item.source, number), item.size)
