"""One frame of an animation as an image of its own.

A frame is drawn over those before it, so each thread keeps the animation it decoded last: its frames in ascending order
cost one pass over the file, not one pass each.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexlip_infer.inputs.image_files import open_image, read_image_file, silenced

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import ImageFile

#: Formats whose frames are moments of one scene; the pages of a TIFF and the previews in a JPEG are none.
_ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")

#: Bytes that a frame takes in a file, at the least.
_SMALLEST = 12


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of an animation.

    Attributes:
        source: the animation, as a path or the bytes of a file.
        number: from 0.
    """

    source: Path | bytes
    number: int

    def __str__(self) -> str:
        name = "the given bytes" if isinstance(self.source, bytes) else self.source
        return f"{name} (frame {self.number})"

    def read(self) -> bytes:
        """The animation's file.

        Raises:
            ImageError: it cannot be read.
        """
        return self.source if isinstance(self.source, bytes) else read_image_file(self.source)


def count_frames(source: Path | bytes) -> int:
    """How many frames an animation has; 1 for any other file, damaged ones included: decoding will tell.

    An APNG says the number itself; it is believed as far as the file has room for so many.
    """
    try:
        with silenced():
            data = Frame(source, 0).read()
            frames: int = getattr(open_image(data, _ANIMATED), "n_frames", 1)
            return min(frames, len(data) // _SMALLEST)
    except Exception:  # noqa: BLE001  (plugins raise anything on damaged files)
        return 1


@dataclass(slots=True)
class _Progress:
    source: Path | bytes
    image: ImageFile.ImageFile


_last = threading.local()


def open_frame(frame: Frame, check: Callable[[ImageFile.ImageFile], None]) -> ImageFile.ImageFile:
    """The animation, standing at the frame.

    Args:
        frame: which one, of which animation.
        check: called before a frame is drawn over those before it, which takes time by the size of the picture; a
            frame may make it larger than the header says.

    Raises:
        ImageError: the file cannot be read, or is not an image; or by `check`.
        EOFError: it has no such frame.
    """
    progress: _Progress | None = getattr(_last, "progress", None)
    if progress is None or progress.source != frame.source or progress.image.tell() > frame.number:
        progress = _Progress(frame.source, open_image(frame.read()))
    _last.progress = None  # an animation that breaks off is not gone on with
    for number in range(progress.image.tell() + 1, frame.number + 1):
        check(progress.image)
        progress.image.seek(number)
    progress.image.seek(frame.number)  # which raises for a number below 0
    if frame.number + 1 < getattr(progress.image, "n_frames", 1):
        _last.progress = progress
    return progress.image
