"""Photographs with their clouds: one beside its caption's, or many on a contact sheet; and the files they become."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.explain.drawing import (
    ACCENT,
    BOLD,
    FAINT,
    INK,
    PAPER,
    Words,
    draw_cloud,
    fit_picture,
    font,
    shorten,
    wrap,
)
from lexlip_infer.files import check_new_path, new_file
from lexlip_infer.inputs.images import ImageSource, load_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lexlip_infer.encoder import LexLIPEncoder

PANEL = (480, 360)
"""Width and height, pixels, of the photograph and of a cloud where there is one photograph."""
CELL = (300, 225)
"""The same on a contact sheet."""

_MARGIN, _HEADING, _NAME, _CAPTION = 24, 36, 32, 96
_COLUMNS = 5

#: What pictures are written as, by suffix.
_FORMATS = {".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class Caption:
    """A text and its words."""

    text: str
    words: Words


@dataclass(frozen=True, slots=True)
class Cell:
    """One photograph of a contact sheet."""

    name: str
    photograph: Image.Image
    words: Words


def image_seen(encoder: LexLIPEncoder, source: ImageSource, name: str, terms: int) -> Cell:
    """A photograph, as large as the largest sheet shows it, with the heaviest of the terms that an index keeps of it.

    Raises:
        ImageError: it cannot be decoded.
    """
    photograph = load_image(source)
    words = encoder.decode(encoder.encode_pixels(encoder.preprocess(photograph)[None]), terms)[0]
    return Cell(name, fit_picture(photograph, PANEL), words)


def caption_seen(encoder: LexLIPEncoder, text: str, terms: int) -> Caption:
    """A text with the heaviest of the terms that a query keeps of it."""
    return Caption(text, encoder.decode(encoder.encode_texts([text], show_progress_bar=False), terms)[0])


def side_by_side(photograph: Image.Image, words: Words, caption: Caption | None = None) -> Image.Image:
    """A photograph and its cloud; with a caption, that below and its cloud beside, words of both in the accent colour.

    Returns:
        An RGB image.

    Raises:
        MissingExtra: wordcloud or matplotlib is not installed.
    """
    texts = [] if caption is None else [caption]
    width, height = PANEL[0], PANEL[1] + _CAPTION * len(texts)
    shared = {word for word, _ in words}.intersection(word for text in texts for word, _ in text.words)
    columns = 2 + len(texts)
    sheet = Image.new("RGB", (columns * (width + _MARGIN) + _MARGIN, height + _HEADING + 2 * _MARGIN), PAPER)
    panels = [("words of the photograph", words), *(("words of the caption", text.words) for text in texts)]
    fitted = fit_picture(photograph, PANEL)
    sheet.paste(fitted, (_MARGIN, _MARGIN + _HEADING))
    _draw_heading(sheet, 0, "photograph")
    for column, (heading, panel) in enumerate(panels, 1):
        left = _MARGIN + column * (width + _MARGIN)
        sheet.paste(draw_cloud(panel, (width, height), shared), (left, _MARGIN + _HEADING))
        _draw_heading(sheet, column, heading, in_both=bool(shared))
    for text in texts:
        _draw_caption(sheet, _MARGIN + _HEADING + fitted.height + 14, text.text)
    return sheet


def contact_sheet(cells: Sequence[Cell]) -> Image.Image:
    """A grid: each photograph, its name and its cloud below.

    Args:
        cells: at least one.

    Returns:
        An RGB image.

    Raises:
        MissingExtra: wordcloud or matplotlib is not installed.
    """
    rows = ceil(len(cells) / _COLUMNS)
    columns = ceil(len(cells) / rows)
    step = (CELL[0] + _MARGIN, 2 * CELL[1] + _NAME + 2 * _MARGIN)
    sheet = Image.new("RGB", (columns * step[0] + _MARGIN, rows * step[1]), PAPER)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        _draw_cell(sheet, _MARGIN + column * step[0], _MARGIN + row * step[1], cell)
    return sheet


def _draw_heading(sheet: Image.Image, column: int, heading: str, in_both: bool = False) -> None:
    draw, left = ImageDraw.Draw(sheet), _MARGIN + column * (PANEL[0] + _MARGIN)
    letters = font(18, BOLD)
    draw.text((left, _MARGIN), heading, fill=INK, font=letters)
    if in_both:
        draw.text((left + letters.getlength(heading) + 14, _MARGIN + 1), "in both", fill=ACCENT, font=font(17, BOLD))


def _draw_caption(sheet: Image.Image, top: int, text: str) -> None:
    letters = font(20)
    wrapped = wrap(text, letters, PANEL[0], lines=3)
    ImageDraw.Draw(sheet).multiline_text((_MARGIN, top), wrapped, fill=INK, font=letters, spacing=6)


def _draw_cell(sheet: Image.Image, left: int, top: int, cell: Cell) -> None:
    fitted = fit_picture(cell.photograph, CELL)
    sheet.paste(fitted, (left + (CELL[0] - fitted.width) // 2, top + (CELL[1] - fitted.height) // 2))
    letters = font(15)
    name = shorten(cell.name, letters, CELL[0])
    middle = (left + CELL[0] / 2, top + CELL[1] + _NAME / 2)
    ImageDraw.Draw(sheet).text(middle, name, fill=FAINT, font=letters, anchor="mm")
    sheet.paste(draw_cloud(cell.words, CELL), (left, top + CELL[1] + _NAME))


def check_picture_path(path: Path) -> None:
    """Refuse a place where no picture can be written, before there is one.

    Raises:
        InputError: the suffix is of no format that is written.
        OutputError: there is such a file, or no such folder.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path}: pictures are written as {', '.join(_FORMATS)}; give the file one of these suffixes")
    check_new_path(path)


def page_path(path: Path, page: int) -> Path:
    """`out.png` and 7 give `out-007.png`."""
    return path.with_name(f"{path.stem}-{page:03d}{path.suffix}")


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that the suffix names.

    Raises:
        InputError: the suffix is of no format that is written.
        OutputError: the file exists, or cannot be written.
    """
    check_picture_path(path)
    with new_file(path) as file:
        try:
            picture.save(file, _FORMATS[path.suffix.lower()], optimize=True, quality=90, subsampling=0)
        except ValueError as error:  # WebP, of more than 16,383 pixels a side
            size = f"{picture.width} x {picture.height} pixels"
            raise OutputError(f"{path}: cannot be written with {size} ({error}); name a .png") from None
