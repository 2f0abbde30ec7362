"""Files of captioned photographs, one strict reader a format, for evaluation and for training alike.

Every reader yields each photograph once, with all its captions: rows that name one file are of one photograph, whether
they are adjacent or not. A malformed row ends the reading with one line that names the place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lexlip_infer.datasets.captioned_images import CaptionedImage, CaptionedImages
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.lines import LONGEST, listed, read_given, read_lines, separated_rows

#: Bytes of Karpathy's JSON; that of COCO has 144 MB.
_LARGEST_KARPATHY = 2**29

#: Suffixes of official TSVs; some of the authors' are called .csv.
_TABLES = (".tsv", ".csv")
#: What the official tables hold where an image has no id.
_NO_ID = ("", "-100")
_COLUMNS = "expected tab-separated columns title, filepath and perhaps image_id, named in the first line"
_ENTRY = 'expected {"filename", "split", "sentences": [{"raw"}]}'

#: Path as it stands in the file, captions and split of a row.
Row = tuple[str, Sequence[str], str]


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
        return CaptionedImages.together(read_official_tsv(file, images or file.parent))
    assert chosen is not None
    reader = read_karpathy if file.suffix.lower() == ".json" else read_captions_jsonl
    return CaptionedImages.together(reader(file, images or file.parent, (chosen,)))


def read_captioned_images(file: Path, split: str) -> CaptionedImages:
    """One split of a `captions.jsonl`, image paths relative to its folder; raises as `read_captions_jsonl`."""
    return CaptionedImages.together(read_captions_jsonl(file, file.parent, (split,)))


def read_captions_jsonl(file: Path, root: Path, splits: Sequence[str]) -> Iterator[CaptionedImage]:
    """Photographs of `captions.jsonl`, lines `{"image", "captions", "split"}`, in the order of their first rows.

    Args:
        file: to read.
        root: folder that image paths are relative to.
        splits: to keep.

    Raises:
        InputError: the file is missing or malformed (the message names the line), or no row is of those splits.
    """
    return _of_splits(file, (_jsonl_row(f"{file}:{number}", line) for number, line in read_lines(file)), root, splits)


def _jsonl_row(place: str, line: str) -> Row:
    try:
        row = json.loads(line)
        image, captions, split = row["image"], row["captions"], row["split"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'{place}: expected a line {{"image": …, "captions": […], "split": …}}') from None
    if not isinstance(image, str) or not isinstance(split, str):
        raise InputError(f'{place}: "image" and "split" must be strings')
    if not isinstance(captions, list) or not captions or not all(isinstance(text, str) for text in captions):
        raise InputError(f'{place}: "captions" must be a list of at least one string')
    return image, captions, split


def read_karpathy(file: Path, root: Path, splits: Sequence[str]) -> Iterator[CaptionedImage]:
    """Photographs of Karpathy's JSON (`dataset_coco.json`, `dataset_flickr30k.json`, ...), the splits that papers use.

        {"images": [{"filename", "filepath"?, "split", "sentences": [{"raw"}, …]}, …], "dataset": …}

    COCO's `filepath` is the folder of the image, val2014 or train2014. Arguments as of `read_captions_jsonl`.

    Raises:
        InputError: the file is missing or malformed (the message names the image), or no image is of those splits.
    """
    rows = (_karpathy_row(f"{file}: images[{number}]", entry) for number, entry in enumerate(_karpathy_entries(file)))
    return _of_splits(file, rows, root, splits)


def _karpathy_entries(file: Path) -> list[Any]:
    try:
        entries = json.loads(read_given(file, _LARGEST_KARPATHY))["images"]
        if not isinstance(entries, list):
            raise TypeError
    except InputError:  # a ValueError, too
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'{file}: expected Karpathy\'s JSON, {{"images": [{{"filename", "split", …}}]}}') from None
    return entries


def _karpathy_row(place: str, entry: Any) -> Row:
    try:
        folder, name, split = entry.get("filepath", ""), entry["filename"], entry["split"]
        captions = [sentence["raw"] for sentence in entry["sentences"]]
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{place}: {_ENTRY}") from None
    if not captions or not all(isinstance(text, str) for text in (folder, name, split, *captions)):
        raise InputError(f"{place}: file name, split and at least one sentence must be strings; {_ENTRY}")
    return f"{folder}/{name}" if folder else name, captions, split


def _of_splits(file: Path, rows: Iterable[Row], root: Path, splits: Sequence[str]) -> Iterator[CaptionedImage]:
    seen, kept = set[str](), list[Row]()
    for row in rows:
        seen.add(row[2])
        if row[2] in splits:
            kept.append(row)
    if not kept:
        there = f"there are {', '.join(map(repr, sorted(seen)))}" if seen else "it has no images"
        raise InputError(f"{file}: no image of split {' or '.join(map(repr, splits))}; {there}")
    return iter(_gathered((root / path, captions) for path, captions, _ in kept))


def _gathered(rows: Iterable[tuple[Path, Iterable[str]]]) -> list[CaptionedImage]:
    """Each photograph once, in the order of the first rows."""
    captions: dict[str, list[str]] = {}
    for path, texts in rows:
        captions.setdefault(str(path), []).extend(texts)
    return [CaptionedImage(file, tuple(texts)) for file, texts in captions.items()]


def read_official_tsv(file: Path, root: Path) -> Iterator[CaptionedImage]:
    """Photographs of LexLIP's own tables: tab-separated with a header `title`, `filepath`, `image_id`, a row a caption.

    Fields may be quoted, as pandas writes and reads them. A file is a split: coco_test.tsv, f30k_test.tsv. An
    `image_id`, where it is known (it may be empty, -100, or have no column), has to stand for one path.

    Args:
        file: to read.
        root: folder that file paths are relative to.

    Raises:
        InputError: the file is missing, malformed or contradicts itself (the message names the line), or holds no
            captions.
    """
    images = _gathered((root / path, [title]) for path, title in _consistent(file))
    if not images:
        raise InputError(f"{file}: no captions; expected a header title, filepath, image_id and a row a caption")
    return iter(images)


def _consistent(file: Path) -> Iterator[tuple[str, str]]:
    """Path and title of each row."""
    paths: dict[str, str] = {}
    for line, title, path, identifier in _table(file):
        if identifier not in _NO_ID and paths.setdefault(identifier, path) != path:
            raise InputError(
                f"{file}:{line}: image_id {identifier} stands for {path!r} here and for {paths[identifier]!r} before"
            )
        yield path, title


def _table(file: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line, title, path, id."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = separated_rows(iter(partial(lines.readline, LONGEST + 1), ""), "\t")
            names: list[str] = []
            for number, row in rows:
                if isinstance(row, InputError):
                    raise InputError(f"{file}:{number}: {row}; {_COLUMNS}")
                if names:
                    yield number, *_cells(f"{file}:{number}", row, names)
                else:
                    names = _checked_names(file, row)
            if not names:
                _checked_names(file, [])
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 ({error.reason} near byte {error.start}); convert it") from None


def _checked_names(file: Path, names: list[str]) -> list[str]:
    if names.count("title") != 1 or names.count("filepath") != 1 or names.count("image_id") > 1:
        raise InputError(f"{file}: the first line names {listed(names) or 'nothing'}; {_COLUMNS}")
    return names


def _cells(place: str, row: list[str], names: list[str]) -> tuple[str, str, str]:
    if len(row) != len(names):
        raise InputError(f"{place}: {len(row)} instead of {len(names)} columns")
    title, path = row[names.index("title")], row[names.index("filepath")]
    identifier = row[names.index("image_id")] if "image_id" in names else ""
    if identifier and not identifier.removeprefix("-").isdecimal():
        raise InputError(f"{place}: image_id {identifier!r}; expected a whole number")
    if not title.strip() or not path:
        raise InputError(f"{place}: an empty {'filepath' if title.strip() else 'title'}")
    return title, path, str(int(identifier)) if identifier else ""
