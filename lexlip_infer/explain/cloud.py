"""One sparse vector as a word cloud, as in Figure 1 of the LexLIP paper: the size of a word is its weight.

Terms are drawn as an index holds them: word pieces keep their `##`, special tokens their brackets. Joining pieces would
show words that no search finds, and leaving tokens out would hide a fault of the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from lexlip_infer.errors import require
from lexlip_infer.explain.style import ACCENT, BOLD, PAPER, draw_note, font_file, shade

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

__all__ = ["Words", "draw_cloud"]

Words = list[tuple[str, float]]
"""Terms and weights above 0, heaviest first, as `LexLIPEncoder.decode` gives them."""

#: Pixels of the picture for one of the layout, whose time grows with its area.
_SCALE = 2
#: Pixels of the layout. Lighter words are drawn at this size: what cannot be read explains nothing.
_SMALLEST = 5
#: The heaviest word is at least this large while any other is drawn: no differences would be seen below.
_SMALL = 8


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
