"""LexLIP's own data files: tab-separated with a header `title, filepath, image_id`, one row a caption.

`image_id` groups an image's captions; where it is -100 (the authors' mark for none) or missing, the path does. Fields
may be quoted, as pandas writes and reads them. A file is a split: coco_test.tsv, f30k_test.tsv.
"""

from __future__ import annotations

import csv
from pathlib import Path

from lexlip_infer.datasets.captioned_images import CaptionedImages
from lexlip_infer.errors import InputError

__all__ = ["read_official_tsv"]

_NO_IMAGE_ID = ("", "-100")


def read_official_tsv(file: Path, images: Path | None = None) -> CaptionedImages:
    """Read all captions.

    Args:
        file: to read.
        images: folder that file paths are relative to; the file's own when absent.

    Raises:
        InputError: the file is missing or malformed (the message names the line), or holds no captions.
    """
    rows: dict[str, tuple[Path, list[str]]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter="\t", strict=True)
            for row in reader:
                image_id, path, title = _parse(f"{file}:{reader.line_num}", row)
                _, captions = rows.setdefault(image_id, ((images or file.parent) / path, []))
                captions.append(title)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: not a tab-separated file in UTF-8 ({error})") from None
    if not rows:
        raise InputError(f"{file}: no captions; expected a header title, filepath, image_id and a row a caption")
    return CaptionedImages.from_rows(list(rows.values()))


def _parse(place: str, row: dict[str, str | None]) -> tuple[str, str, str]:
    path, title, image_id = row.get("filepath"), row.get("title"), row.get("image_id") or ""
    if not path or title is None:
        raise InputError(f"{place}: expected the columns title, filepath and image_id, separated by tabs")
    return path if image_id in _NO_IMAGE_ID else f"image_id {image_id}", path, title
