"""From configured sources to one table of pairs: images, their captions, and which belongs to which.

The table holds all pairs of a split in memory that worker processes share.
"""

from __future__ import annotations

import glob
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexlip_infer.datasets.caption_files import read_captions_jsonl, read_karpathy, read_official_tsv
from lexlip_infer.datasets.captioned_images import WHOLE_FILE, CaptionedImage
from lexlip_infer.inputs.readers.patterns import expand_braces, has_wildcard
from lexlip_kernels.errors import ImageError, InputError
from lexlip_training.data.config import SourceConfig, Split
from lexlip_training.data.readers.webdataset import read_webdataset


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


_SUFFIXES = {
    ".tsv": "official_tsv",
    ".csv": "official_tsv",
    ".json": "karpathy_json",
    ".jsonl": "captions_jsonl",
    ".tar": "webdataset",
}
#: Names that files give our splits.
_SPLITS: dict[tuple[str, Split], tuple[str, ...]] = {
    ("captions_jsonl", "train"): ("train",),
    ("captions_jsonl", "dev"): ("dev",),
    ("karpathy_json", "train"): ("train", "restval"),
    ("karpathy_json", "dev"): ("val",),
}


def read_pairs(sources: Iterable[SourceConfig], split: Split) -> PairTable:
    """All pairs of some sources, in order; images are numbered through.

    Args:
        sources: at least one.
        split: decides which names of splits are kept where a source names none.

    Raises:
        InputError: a source is missing, of no known layout, malformed or empty.
        OutputError: the index of a shard cannot be written.
    """
    table = PairTable(image for source in sources for image in _read(source, split))
    if not table.images:
        raise InputError(f"no {split} pairs: the data configuration names no {split} source, or only empty ones")
    return table


def _read(source: SourceConfig, split: Split) -> Iterator[CaptionedImage]:
    for path in _files(source.path):
        layout = _layout(path) if source.format == "auto" else source.format
        file = path / "captions.jsonl" if layout == "captions_jsonl" and path.is_dir() else path
        root = file.parent if source.images is None else source.images
        splits = source.splits or _SPLITS.get((layout, split), ())
        if source.splits and (layout, split) not in _SPLITS:
            raise InputError(
                f"{path}: splits {', '.join(source.splits)} were given; {layout} files hold one split each"
            )
        if layout == "captions_jsonl":
            for each in splits:  # one after the other, each of which has to be there
                yield from read_captions_jsonl(file, root, (each,))
        elif layout == "karpathy_json":
            yield from read_karpathy(file, root, splits)
        elif layout == "official_tsv":
            yield from read_official_tsv(file, root)
        else:
            yield from read_webdataset(file)


def _files(pattern: str) -> Iterator[Path]:
    for path in expand_braces(pattern):
        if not has_wildcard(path):
            yield Path(path)
            continue
        found = sorted(glob.glob(path))  # noqa: PTH207  (the pattern may be absolute)
        if not found:
            raise InputError(f"{path}: no file matches")
        yield from map(Path, found)


def _layout(path: Path) -> str:
    if not path.exists():
        raise InputError(f"{path}: does not exist; data paths are relative to the working directory")
    if path.is_dir():
        return "captions_jsonl"
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(
            f"{path}: of no known layout; set `format`, or give a folder with captions.jsonl, or {', '.join(_SUFFIXES)}"
        )
    return _SUFFIXES[path.suffix.lower()]
