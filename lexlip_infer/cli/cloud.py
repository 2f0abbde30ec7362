"""`lexlip cloud`: the words of images and of a caption, drawn as word clouds."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.options import Model, Threads
from lexlip_infer.cli.shell import FAILURES_LISTED, one_line
from lexlip_infer.errors import ImageError, InputError, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.explain.drawing import Words
    from lexlip_infer.explain.sheets import Cell
    from lexlip_infer.inputs.items import BadItem, ImageItem


def cloud(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="files, folders, patterns, lists, shards")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="new .png, .jpg or .webp")],
    caption: Annotated[str | None, typer.Option(metavar="TEXT", help="draw its words too, beside one image's")] = None,
    terms: Annotated[int, typer.Option(metavar="N", min=1, max=200, help="heaviest terms to draw of each")] = 40,
    per_page: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="images on one contact sheet")] = 20,
    model: Model = None,
    threads: Threads = None,
) -> None:
    """Draw the words of images as clouds: the larger a word, the larger its weight.

    One image stands beside its cloud and, with --caption, the cloud of that. Several make a contact sheet, and more
    than --per-page of them numbered ones: FILE-001.png, FILE-002.png, ...
    """
    for module in ("matplotlib", "wordcloud"):
        require(module, extra="viz")
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.explain.sheets import check_picture_path
    from lexlip_infer.inputs.readers import open_images

    check_picture_path(output)
    if caption is not None and not caption.strip():
        raise InputError("--caption is empty; give a text or leave the option out")
    items = iter(open_images(images))
    first = list(islice(items, 2))
    if caption is not None and len(first) > 1:
        raise InputError("--caption was given with several images; it stands beside one, so name a single image")
    encoder = LexLIPEncoder.from_pretrained(model, "cpu", threads=threads)
    if len(first) == 1:
        _draw_one(encoder, first[0], caption, terms, output)
        return
    failures: list[str] = []
    _draw_sheets(_cells(encoder, chain(first, items), terms, failures), per_page, output, failures)
    for failure in failures:
        typer.echo(failure, err=True)
    if failures:
        raise typer.Exit(FAILURES_LISTED)


def _draw_one(encoder: LexLIPEncoder, item: ImageItem | BadItem, caption: str | None, terms: int, output: Path) -> None:
    from lexlip_infer.explain.sheets import caption_seen, image_seen, save_picture, side_by_side
    from lexlip_infer.inputs.items import BadItem

    if isinstance(item, BadItem):
        raise InputError(f"{item.origin}: {item.error}")
    cell = image_seen(encoder, item.source, item.id, terms)
    text = None if caption is None else caption_seen(encoder, caption, terms)
    _say_if_empty(cell.name, cell.words)
    if text is not None:
        _say_if_empty("the caption", text.words)
    save_picture(side_by_side(cell.photograph, cell.words, text), output)


def _cells(
    encoder: LexLIPEncoder, items: Iterable[ImageItem | BadItem], terms: int, failures: list[str]
) -> Iterator[Cell]:
    """Of the images that can be decoded; the others join the failures."""
    from lexlip_infer.explain.sheets import image_seen
    from lexlip_infer.inputs.items import BadItem

    for item in items:
        if isinstance(item, BadItem):
            failures.append(one_line(InputError(f"{item.origin}: {item.error}")))
            continue
        try:
            cell = image_seen(encoder, item.source, item.id, terms)
        except ImageError as error:
            failures.append(one_line(error))
            continue
        _say_if_empty(cell.name, cell.words)
        yield cell


def _draw_sheets(cells: Iterator[Cell], per_page: int, output: Path, failures: list[str]) -> None:
    from lexlip_infer.explain.sheets import contact_sheet, page_path, save_picture

    pages = iter(lambda: list(islice(cells, per_page)), [])
    first, second = next(pages, None), next(pages, None)
    if first is None:
        raise InputError(f"no image can be decoded; the first of {len(failures)}: {failures[0]}")
    if second is None:
        save_picture(contact_sheet(first), output)
        return
    for number, page in enumerate(chain((first, second), pages), 1):
        save_picture(contact_sheet(page), page_path(output, number))


def _say_if_empty(name: str, words: Words) -> None:
    if not words:
        typer.echo(one_line(InputError(f"{name}: the model finds no word in it; its cloud is empty")), err=True)
