"""Draw what a search finds: a row a query, its best photographs with their scores and the words that matched.

    python examples/draw_hits.py FOLDER OUT.png|OUT.jpg "a dog on the beach" "two people in a boat"

Needs nothing beyond the base install.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from draw_words import HEIGHT, INK, MARGIN, PAPER, WIDTH, cover, save
from PIL import Image, ImageDraw

from lexlip_infer import Hit, Index
from lexlip_infer.inputs.images import load_image

#: Pixels for a score and the words below it.
TEXT, FAINT = 60, "#5b6773"


def draw_hits(index: Index, queries: Sequence[str], output: Path, hits: int = 3) -> None:
    """A row a query: its words on the left, then its hits from the best on.

    Args:
        index: one that knows where its photographs lie.
        queries: at least one.
        output: `.jpg` or `.png`.
        hits: of each query, at most; a row is empty where a query finds nothing.
    """
    step = HEIGHT + TEXT + MARGIN
    sheet = Image.new("RGB", ((1 + hits) * (WIDTH + MARGIN) + MARGIN, len(queries) * step + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (query, found) in enumerate(zip(queries, index.search(list(queries), hits), strict=True)):
        top = MARGIN + row * step
        asked = "\n".join(textwrap.wrap(f"“{query}”", 18))
        draw.multiline_text((MARGIN, top + HEIGHT / 2), asked, fill=INK, font_size=27, spacing=8, anchor="lm")
        for column, hit in enumerate(found, 1):
            draw_hit(sheet, MARGIN + column * (WIDTH + MARGIN), top, hit)
    save(sheet, output)


def draw_hit(sheet: Image.Image, left: int, top: int, hit: Hit) -> None:
    """A photograph, below it rank and score, and the words that gave most of the score."""
    assert hit.path is not None, "the index was made from a folder of photographs"
    sheet.paste(cover(load_image(hit.path)), (left, top))
    draw = ImageDraw.Draw(sheet)
    draw.text((left, top + HEIGHT + 4), f"{hit.rank}", fill=INK, font_size=22)
    draw.text((left + WIDTH, top + HEIGHT + 4), f"{hit.score:,}", fill=INK, font_size=22, anchor="ra")
    words = ", ".join(term for term, _ in hit.terms[:3])
    draw.text((left, top + HEIGHT + 31), words, fill=FAINT, font_size=20)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: python examples/draw_hits.py FOLDER OUT.png QUERY ...")
    with Index.from_images(sys.argv[1]) as photographs:
        draw_hits(photographs, sys.argv[3:], Path(sys.argv[2]))
