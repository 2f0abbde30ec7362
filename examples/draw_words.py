"""Draw photographs with the words a model sees in them: word size and bar length are the weight.

    python examples/draw_words.py FOLDER OUT.png|OUT.jpg

Needs nothing beyond the base install.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lexlip_infer import LexLIPEncoder
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.items import ImageItem
from lexlip_infer.inputs.readers import open_images

WIDTH, HEIGHT, MARGIN, LINE, WORDS = 300, 225, 16, 30, 10
BAR_WIDTH = WIDTH - 46  # leaves room for the weight
INK, BAR, PAPER = "#1d2733", "#cfe3f5", "white"


def main(folder: Path, output: Path) -> None:
    """One column a photograph: the picture above, its heaviest words below."""
    items = [item for item in open_images([str(folder)]) if isinstance(item, ImageItem)]
    encoder = LexLIPEncoder.from_pretrained()
    words = encoder.decode(encoder.encode_images([item.source for item in items]), top_k=WORDS)
    sheet = Image.new("RGB", (len(items) * (WIDTH + MARGIN) + MARGIN, HEIGHT + WORDS * LINE + 3 * MARGIN), PAPER)
    for column, (item, terms) in enumerate(zip(items, words, strict=True)):
        left = MARGIN + column * (WIDTH + MARGIN)
        sheet.paste(cover(load_image(item.source)), (left, MARGIN))
        draw_words(ImageDraw.Draw(sheet), left, HEIGHT + 2 * MARGIN, terms)
    sheet.save(output, optimize=True, quality=88)
    print(output)


def cover(image: Image.Image) -> Image.Image:
    """The middle of an image at the size of a column."""
    scale = max(WIDTH / image.width, HEIGHT / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - WIDTH) // 2, (image.height - HEIGHT) // 2
    return image.crop((left, top, left + WIDTH, top + HEIGHT))


def draw_words(draw: ImageDraw.ImageDraw, left: int, top: int, terms: list[tuple[str, float]]) -> None:
    """A bar and a word a line, relative to the heaviest."""
    heaviest = terms[0][1] if terms else 1.0
    for line, (term, weight) in enumerate(terms):
        y, share = top + line * LINE, weight / heaviest
        draw.rectangle((left, y + 2, left + round(BAR_WIDTH * share), y + LINE - 4), fill=BAR)
        font = ImageFont.load_default(size=12 + 9 * share)
        draw.text((left + 6, y + LINE / 2 - 1), term, fill=INK, font=font, anchor="lm")
        draw.text((left + WIDTH - 4, y + LINE / 2 - 1), f"{weight:.2f}", fill=INK, font_size=13, anchor="rm")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/draw_words.py FOLDER OUT.png")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
