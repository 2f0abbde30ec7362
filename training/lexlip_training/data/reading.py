"""From configured sources to one table of pairs."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from lexlip_infer.datasets.caption_files import read_captions_jsonl, read_karpathy, read_official_tsv
from lexlip_infer.datasets.captioned_images import CaptionedImage
from lexlip_infer.inputs.readers.patterns import expand_braces, has_wildcard
from lexlip_kernels.errors import InputError
from lexlip_training.data.config import SourceConfig, Split
from lexlip_training.data.pair_table import PairTable
from lexlip_training.data.readers.webdataset import read_webdataset

__all__ = ["read_pairs"]

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
