"""How explaining pictures look: colours, fonts, and text that fits."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lexlip_infer.errors import require

__all__ = [
    "ACCENT",
    "BOLD",
    "FAINT",
    "INK",
    "PAPER",
    "REGULAR",
    "draw_note",
    "fit_picture",
    "font",
    "font_file",
    "printable",
    "shade",
    "shorten",
    "wrap",
]

PAPER, INK, FAINT, ACCENT = "white", "#1d2733", "#7b8794", "#d9480f"
REGULAR, BOLD = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"
#: Of words, from the lightest to the heaviest.
_LIGHT, _HEAVY = (122, 162, 199), (16, 52, 92)
#: Pixels; no line of text has more characters than there are of these.
_NARROWEST = 4
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def font_file(name: str) -> Path:
    """One of matplotlib's fonts: the same letters on every machine. They have no Chinese, Japanese or Korean.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    return Path(require("matplotlib", extra="viz").get_data_path()) / "fonts" / "ttf" / name


def font(size: int, name: str = REGULAR) -> ImageFont.FreeTypeFont:
    """A font of `size` pixels."""
    return ImageFont.truetype(font_file(name), size)


def shade(share: float) -> tuple[int, int, int]:
    """Colour of a word by its weight, as a share of the heaviest."""
    red, green, blue = (round(light + (heavy - light) * share) for light, heavy in zip(_LIGHT, _HEAVY, strict=True))
    return red, green, blue


def fit_picture(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole picture, as large as fits."""
    scale = min(size[0] / picture.width, size[1] / picture.height)
    fitted = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(fitted, Image.Resampling.LANCZOS)


def draw_note(text: str, size: tuple[int, int]) -> Image.Image:
    """An empty panel that says why."""
    panel = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, 0, size[0] - 1, size[1] - 1), outline="#d5dbe1")
    draw.text((size[0] / 2, size[1] / 2), text, fill=FAINT, font=font(18), anchor="mm")
    return panel


def wrap(text: str, letters: ImageFont.FreeTypeFont, width: int, lines: int) -> str:
    """Text broken at blanks into at most so many lines of at most `width` pixels; what is left out becomes `…`."""
    text = " ".join(text.split())
    for columns in range(max(1, min(len(text), width // _NARROWEST)), 0, -1):
        wrapped = [printable(line) for line in textwrap.wrap(text, columns, max_lines=lines, placeholder=" …")]
        if all(letters.getlength(line) <= width for line in wrapped):
            return "\n".join(wrapped)
    return "…"


def shorten(name: str, letters: ImageFont.FreeTypeFont, width: int) -> str:
    """A file name in at most `width` pixels, without its middle if need be."""
    name = kept = printable(name)
    while letters.getlength(kept) > width:
        half = (len(kept) - 2) // 2
        kept = f"{name[:half]}…{name[-half:]}"
    return kept


def printable(text: str) -> str:
    """Control characters, line ends and bytes that are no text (file names may hold them) as escapes."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
