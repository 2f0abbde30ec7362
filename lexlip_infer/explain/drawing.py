"""One sparse vector as a word cloud, as in Figure 1 of the LexLIP paper, and how all pictures look.

The size of a word is its weight. Terms are drawn as an index holds them: word pieces keep their `##`, special tokens
their brackets. Joining pieces would show words that no search finds, and leaving tokens out would hide a fault of the
model.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from lexlip_infer.errors import require

Words = list[tuple[str, float]]
"""Terms and weights above 0, heaviest first, as `LexLIPEncoder.decode` gives them."""

#: Pixels of the picture for one of the layout, whose time grows with its area.
_SCALE = 2
#: Pixels of the layout. Lighter words are drawn at this size: what cannot be read explains nothing.
_SMALLEST = 5
#: The heaviest word is at least this large while any other is drawn: no differences would be seen below.
_SMALL = 8

PAPER, INK, FAINT, ACCENT = "white", "#1d2733", "#7b8794", "#d9480f"
REGULAR, BOLD = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"
#: Of words, from the lightest to the heaviest.
_LIGHT, _HEAVY = (122, 162, 199), (16, 52, 92)
#: Pixels; no line of text has more characters than there are of these.
_NARROWEST = 4
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def draw_cloud(words: Words, size: tuple[int, int], shared: AbstractSet[str] = frozenset()) -> Image.Image:
    """Draw words, the same picture every time.

    The font size of a word is proportional to its weight, down to a smallest legible size. The heaviest is drawn as
    large as lets all the others find room. Where none can, even in small letters, the lightest are left out.

    Args:
        words: what to draw; none gives a panel that says so.
        size: width and height, pixels.
        shared: words to draw in the accent colour.

    Returns:
        An RGB image.

    Raises:
        MissingExtra: wordcloud or matplotlib is not installed.
    """
    if not words:
        return draw_note("no words", size)
    cloud = _largest_that_fits(words, (size[0] // _SCALE, size[1] // _SCALE))
    if not cloud.layout_:
        return draw_note("a word too long to draw", size)
    shares = {word: weight / words[0][1] for word, weight in words}
    cloud.recolor(color_func=lambda word, **_: ACCENT if word in shared else shade(shares[word]))
    picture: Image.Image = cloud.to_image()
    return picture.resize(size)


def _largest_that_fits(words: Words, size: tuple[int, int]) -> Any:
    """A WordCloud, which has no types."""
    largest = size[1]
    while True:
        font_sizes = {word: max(_SMALLEST, round(largest * weight / words[0][1])) for word, weight in words}
        cloud = _laid_out(font_sizes, size)
        enough = len(words) if largest > _SMALL else 1
        if len(cloud.layout_) >= enough or largest == _SMALLEST:
            return cloud
        largest = max(_SMALLEST, largest * 14 // 15)


def _laid_out(font_sizes: dict[str, int], size: tuple[int, int]) -> Any:
    """With relative scaling 1, whole font sizes given as frequencies come out as they are; no room ends the layout."""
    letters = str(font_file(BOLD))
    cloud = require("wordcloud", extra="viz").WordCloud(
        font_path=letters,
        width=size[0],
        height=size[1],
        scale=_SCALE,
        margin=4,
        max_words=len(font_sizes),
        max_font_size=max(font_sizes.values()),
        font_step=max(font_sizes.values()),
        prefer_horizontal=1,
        relative_scaling=1,
        random_state=0,
        background_color=PAPER,
    )
    return cloud.generate_from_frequencies(font_sizes)


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
