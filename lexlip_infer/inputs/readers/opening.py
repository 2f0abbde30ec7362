"""From what a user wrote to a reader of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.frames import Frame, count_frames
from lexlip_infer.inputs.image_options import DEFAULT_OPTIONS, IMAGE_SUFFIXES, ImageOptions, is_image_name
from lexlip_infer.inputs.items import BadItem, ImageItem, Reader, TextItem
from lexlip_infer.inputs.readers.checked_ids import CheckedIds
from lexlip_infer.inputs.readers.parquet import PARQUET_SUFFIXES, ParquetImages, ParquetTexts
from lexlip_infer.inputs.readers.single_files import (
    LIST_SUFFIXES,
    CaptionFolder,
    FolderReader,
    OneImage,
    PathList,
    StandardInput,
)
from lexlip_infer.inputs.readers.source import Source
from lexlip_infer.inputs.readers.specs import STDIN, Spec, read_specs
from lexlip_infer.inputs.readers.tar import TAR_SUFFIXES, TarImages, TarTexts
from lexlip_infer.inputs.readers.text_files import TEXT_FORMATS, Columns, TextFiles

Item = TypeVar("Item", bound=ImageItem | TextItem)


def open_images(
    specs: Sequence[str],
    *,
    id_column: str | None = None,
    image_column: str | None = None,
    options: ImageOptions = DEFAULT_OPTIONS,
) -> Reader[ImageItem]:
    """Images of folders, patterns, lists, tar shards and Parquet files; see docs/inputs.md.

    Args:
        specs: paths, patterns or URLs, braces allowed; or only "-" for a list on standard input.
        id_column: Parquet column, or field of each tar sample's .json, that holds the id.
        image_column: Parquet column, or tar field, that holds the image.
        options: `frames` decides whether animations are taken apart.

    Raises:
        InputError: a place does not exist, is of no kind that is read, or holds nothing.
        MissingExtra: what reads this kind is not installed.
    """
    if STDIN in specs:
        if len(specs) > 1:
            raise InputError("standard input (-) was given together with other inputs; list everything on it")
        reader: Reader[ImageItem] = CheckedIds([StandardInput()])
    else:
        reader = _joined([(spec, _images(spec, id_column, image_column)) for spec in _read(specs)])
    return _AllFrames(reader) if options.frames == "all" else reader


def open_texts(
    specs: Sequence[str], *, id_column: str | None = None, text_column: str | None = None
) -> Reader[TextItem]:
    """Texts of JSONL, TSV, CSV, plain and Parquet files, tar shards, and folders of captioned images.

    Args:
        specs: paths, patterns or URLs, braces allowed.
        id_column: column, or field, that holds the id.
        text_column: column, or field, that holds the text.

    Raises:
        InputError: a place does not exist, is of no kind that is read, or holds nothing.
        MissingExtra: what reads this kind is not installed.
    """
    if STDIN in specs:
        raise InputError("texts are not read from standard input, which does not say what they are; give a file")
    read = _read(specs)
    alone = len(read) == 1 and read[0].files.pattern is None
    return _joined([(spec, _texts(spec, Columns(id_column, text_column), alone)) for spec in read])


def _read(specs: Sequence[str]) -> list[Spec]:
    if isinstance(specs, str) or not specs:
        raise InputError(f"expected a list of paths, patterns or URLs, not {specs!r}")
    if not all(specs):
        raise InputError("an empty path was given; a full stop (.) stands for the current folder")
    return read_specs(specs)


def _joined(sources: Sequence[tuple[Spec, Source[Item]]]) -> Reader[Item]:
    for spec, source in sources:
        if spec.first:
            source.check()
    return CheckedIds([source for _, source in sources])


def _images(spec: Spec, id_column: str | None, image_column: str | None) -> Source[ImageItem]:
    if spec.is_folder:
        return FolderReader(spec.files)
    if spec.suffix in TAR_SUFFIXES:
        return TarImages(spec.files, id_column, image_column)
    if spec.suffix in PARQUET_SUFFIXES:
        return ParquetImages(spec.files, id_column, image_column)
    if spec.files.pattern is not None:
        return FolderReader(spec.files)
    if spec.suffix in LIST_SUFFIXES:
        return PathList(spec.files)
    if is_image_name(spec.files.place.name):
        return OneImage(spec.files)
    raise _unknown(spec, "images", "a folder", *IMAGE_SUFFIXES, *TAR_SUFFIXES, *PARQUET_SUFFIXES, *LIST_SUFFIXES)


def _texts(spec: Spec, columns: Columns, alone: bool) -> Source[TextItem]:
    if spec.is_folder:
        return CaptionFolder(spec.files)
    if spec.suffix in TAR_SUFFIXES:
        return TarTexts(spec.files, columns.id, columns.text)
    if spec.suffix in PARQUET_SUFFIXES:
        return ParquetTexts(spec.files, columns.id, columns.text)
    if spec.suffix in TEXT_FORMATS:
        return TextFiles(spec.files, columns, alone)
    raise _unknown(spec, "texts", "a folder of captioned images", *TEXT_FORMATS, *TAR_SUFFIXES, *PARQUET_SUFFIXES)


def _unknown(spec: Spec, what: str, *kinds: str) -> InputError:
    return InputError(f"{spec.text}: {what} are read from {', '.join(kinds)}; this is none of them")


class _AllFrames:
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
