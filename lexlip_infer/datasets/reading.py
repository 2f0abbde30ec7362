"""One reader for all files of captioned photographs, chosen by the suffix of the name."""

from __future__ import annotations

from pathlib import Path

from lexlip_infer.datasets.captioned_images import CaptionedImages
from lexlip_infer.datasets.captions_jsonl import read_captioned_images
from lexlip_infer.datasets.karpathy import read_karpathy
from lexlip_infer.datasets.official_tsv import read_official_tsv
from lexlip_infer.errors import InputError

__all__ = ["default_split", "read_captions_file"]

#: Suffixes of official TSVs; some of the authors' are called .csv.
_TABLES = (".tsv", ".csv")


def default_split(file: Path) -> str | None:
    """The split that is read where none is asked for: "test" of Karpathy's JSON, "dev" of `captions.jsonl`."""
    suffix = file.suffix.lower()
    return "test" if suffix == ".json" else None if suffix in _TABLES else "dev"


def read_captions_file(file: Path, split: str | None = None, images: Path | None = None) -> CaptionedImages:
    """Read Karpathy's JSON (.json), an official TSV (.tsv, .csv), or `captions.jsonl` (any other name).

    Args:
        file: to read.
        split: of the file; `default_split` when absent. A TSV has none.
        images: folder that image paths are relative to; the file's own when absent.

    Raises:
        InputError: the file is missing or malformed, has no such split, or `images` is no folder.
    """
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: no such folder; expected the one that image paths are relative to")
    chosen = split or default_split(file)
    if file.suffix.lower() in _TABLES:
        if chosen is not None:
            raise InputError(f"{file}: a TSV is one split by itself; leave --split {split} out")
        return read_official_tsv(file, images)
    assert chosen is not None
    reader = read_karpathy if file.suffix.lower() == ".json" else read_captioned_images
    return reader(file, chosen, images)
