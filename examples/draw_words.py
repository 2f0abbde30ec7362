"""Draw photographs with the words a model sees in them: word size and bar length are the weight.

    python examples/draw_words.py FOLDER OUT.png|OUT.jpg [MODEL ...]

With several models their words stand side by side. Needs nothing beyond the base install.
"""

from __future__ import annotations

import sys
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lexlip_infer import LexLIPEncoder
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.items import ImageItem
from lexlip_infer.inputs.readers import open_images

#: Pixels of a photograph, and between two of them; a README shows about half of them.
WIDTH, HEIGHT, MARGIN = 256, 176, 16
INK, PAPER = "#1d2733", "white"
COLUMNS, LINE, BAR = 6, 32, "#cfe3f5"
BAR_WIDTH = WIDTH - 50  # leaves room for the weight


def draw_words(encoder: LexLIPEncoder, folder: Path, output: Path, words: int = 6) -> None:
    """A grid of photographs, each above its heaviest words."""
    items = [item for item in open_images([str(folder)]) if isinstance(item, ImageItem)]
    rows = ceil(len(items) / COLUMNS)
    columns, step = ceil(len(items) / rows), HEIGHT + words * LINE + 2 * MARGIN
    batch = encoder.encode_images([item.source for item in items], show_progress_bar=False)
    sheet = Image.new("RGB", (columns * (WIDTH + MARGIN) + MARGIN, rows * step + MARGIN), PAPER)
    for number, (item, terms) in enumerate(zip(items, encoder.decode(batch, top_k=words), strict=True)):
        left, top = MARGIN + number % columns * (WIDTH + MARGIN), MARGIN + number // columns * step
        sheet.paste(cover(load_image(item.source)), (left, top))
        draw_bars(ImageDraw.Draw(sheet), left, top + HEIGHT + 6, terms)
    save(sheet, output)


def compare_words(encoders: list[LexLIPEncoder], names: list[str], folder: Path, output: Path) -> None:
    """Photographs, two a line, each beside its heaviest words in every model."""
    items = [item for item in open_images([str(folder)]) if isinstance(item, ImageItem)]
    words = HEIGHT // LINE
    said = [
        encoder.decode(encoder.encode_images([item.source for item in items], show_progress_bar=False), top_k=words)
        for encoder in encoders
    ]
    cell, step = (1 + len(encoders)) * (WIDTH + MARGIN) + MARGIN, HEIGHT + MARGIN
    sheet = Image.new("RGB", (2 * cell, ceil(len(items) / 2) * step + MARGIN + LINE), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, item in enumerate(items):
        left, top = MARGIN + number % 2 * cell, MARGIN + LINE + number // 2 * step
        sheet.paste(cover(load_image(item.source)), (left, top))
        for column, (name, rows) in enumerate(zip(names, said, strict=True), start=1):
            start = left + column * (WIDTH + MARGIN)
            draw.text((start + 6, MARGIN + LINE / 2 - 4), name, fill=INK, font_size=22, anchor="lm")
            draw_bars(draw, start, top, rows[number])
    save(sheet, output)


def cover(image: Image.Image) -> Image.Image:
    """The middle of an image, WIDTH x HEIGHT pixels of it."""
    scale = max(WIDTH / image.width, HEIGHT / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - WIDTH) // 2, (image.height - HEIGHT) // 2
    return image.crop((left, top, left + WIDTH, top + HEIGHT))


def draw_bars(draw: ImageDraw.ImageDraw, left: int, top: int, terms: list[tuple[str, float]]) -> None:
    """A bar and a word a line, relative to the heaviest."""
    heaviest = terms[0][1] if terms else 1.0
    for line, (term, weight) in enumerate(terms):
        y, share = top + line * LINE, weight / heaviest
        draw.rectangle((left, y + 2, left + round(BAR_WIDTH * share), y + LINE - 3), fill=BAR)
        font = ImageFont.load_default(size=15 + 10 * share)
        draw.text((left + 6, y + LINE / 2), term, fill=INK, font=font, anchor="lm")
        draw.text((left + WIDTH - 2, y + LINE / 2), f"{weight:.2f}", fill=INK, font_size=18, anchor="rm")


def save(sheet: Image.Image, output: Path) -> None:
    """Write a picture and say where."""
    sheet.save(output, optimize=True, quality=88)
    print(output)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python examples/draw_words.py FOLDER OUT.png [MODEL ...]")
    folder, output, *models = sys.argv[1:]
    if len(models) < 2:
        model = models[0] if models else None
        draw_words(LexLIPEncoder.from_pretrained(model), Path(folder), Path(output))
    else:
        several = [LexLIPEncoder.from_pretrained(model) for model in models]
        compare_words(several, [Path(model).name for model in models], Path(folder), Path(output))
