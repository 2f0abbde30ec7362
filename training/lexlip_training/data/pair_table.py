"""All pairs of a split: images, their captions, and which belongs to which, in memory that workers share."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexlip_infer.datasets.captioned_images import WHOLE_FILE, CaptionedImage
from lexlip_kernels.errors import ImageError

__all__ = ["PackedStrings", "PairTable"]


class PackedStrings:
    """An immutable sequence of strings; half surrogate pairs, as in odd file names, survive.

    Args:
        strings: consumed once.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        data, ends = bytearray(), array("q", [0])
        for string in strings:
            data += string.encode("utf-8", "surrogatepass")
            ends.append(len(data))
        self._data = np.frombuffer(bytes(data), np.uint8)
        self._ends = np.frombuffer(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self._data[self._ends[row] : self._ends[row + 1]].tobytes().decode("utf-8", "surrogatepass")


class PairTable:
    """N images and M captions, those of one image adjacent.

    Args:
        sources: in the order of their image ids, 0 to N - 1.

    Attributes:
        captions: M strings.
        owner: (M,) int64, the image id of each caption.
        first_caption: (N + 1,) int64; captions of image i are rows first_caption[i] to first_caption[i + 1].
    """

    def __init__(self, sources: Iterable[CaptionedImage]) -> None:
        spans: list[tuple[int, int, int]] = []
        files: list[str] = []
        captions: list[str] = []
        for source in sources:
            files.append(source.file)
            captions.extend(source.captions)
            spans.append((source.offset, source.size, len(source.captions)))
        self._files, self.captions = PackedStrings(files), PackedStrings(captions)
        columns = np.array(spans, np.int64).reshape(-1, 3)
        self._offset, self._size = columns[:, 0].copy(), columns[:, 1].copy()
        self.first_caption = np.concatenate([[0], np.cumsum(columns[:, 2])]).astype(np.int64)
        self.owner: npt.NDArray[np.int64] = np.repeat(np.arange(len(files), dtype=np.int64), columns[:, 2])

    @property
    def images(self) -> int:
        """N."""
        return len(self._files)

    def captions_of(self) -> list[list[int]]:
        """For each image, the rows of its captions."""
        return [list(range(*self.first_caption[image : image + 2].tolist())) for image in range(self.images)]

    def origin(self, image: int) -> str:
        """How messages name an image: its path, or archive and offset."""
        file, offset = self._files[image], int(self._offset[image])
        return file if offset == WHOLE_FILE else f"{file} at byte {offset}"

    def image_source(self, image: int) -> Path | bytes:
        """What `load_image` takes: a path, or the bytes out of an archive.

        Raises:
            ImageError: the archive cannot be read there.
        """
        path, offset, size = Path(self._files[image]), int(self._offset[image]), int(self._size[image])
        if offset == WHOLE_FILE:
            return path
        try:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
        if len(data) != size:
            raise ImageError(f"{self.origin(image)}: the archive breaks off; make its index again")
        return data
