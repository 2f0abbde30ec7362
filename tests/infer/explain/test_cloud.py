"""One cloud: every word is there, as large as its weight says, in the same place every time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageFont

from lexlip_infer.errors import MissingExtra
from lexlip_infer.explain import Words, draw_cloud, drawing
from lexlip_infer.explain.drawing import ACCENT
from lexlip_infer.explain.sheets import CELL

SIZE = (300, 200)
WORDS: Words = [("dog", 2.0), ("beach", 1.5), ("##ing", 1.01), ("[MASK]", 1.0), ("run", 0.5), ("the", 0.001)]


def layout(words: Words) -> dict[str, int]:
    cloud = drawing._largest_that_fits(words, SIZE)
    return {word: font_size for (word, _), font_size, *_ in cloud.layout_}


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3).tolist()}


def test_the_font_size_is_the_weight() -> None:
    sizes = layout(WORDS)
    expected = {word: max(drawing._SMALLEST, sizes["dog"] * weight / 2.0) for word, weight in WORDS}
    assert sizes == pytest.approx(expected, abs=0.51)
    assert sizes["dog"] > 30


def test_many_close_weights_do_not_drift() -> None:
    """Each word is sized from the heaviest, not from its neighbour, where rounding would add up."""
    words = [(f"w{number}", 1 - number / 100) for number in range(60)]
    sizes = layout(words)
    assert sizes == pytest.approx({word: max(5, sizes["w0"] * weight) for word, weight in words}, abs=0.51)


def test_words_do_not_overlap_or_leave_the_panel() -> None:
    cloud = drawing._largest_that_fits(WORDS, SIZE)
    taken = np.zeros(SIZE[::-1], bool)
    for (word, _), font_size, (top, left), *_ in cloud.layout_:
        mask = ImageFont.truetype(cloud.font_path, font_size).getmask(word)
        ink = np.asarray(mask).reshape(mask.size[::-1]) > 0
        place = taken[top : top + ink.shape[0], left : left + ink.shape[1]]
        assert place.shape == ink.shape
        assert not (place & ink).any()
        place |= ink


def test_same_words_same_picture() -> None:
    assert draw_cloud(WORDS, SIZE).tobytes() == draw_cloud(WORDS, SIZE).tobytes()


def test_shared_words_have_their_colour() -> None:
    accent = ImageColor.getrgb(ACCENT)
    assert accent not in colours(draw_cloud(WORDS, SIZE))
    assert accent in colours(draw_cloud(WORDS, SIZE, {"beach"}))


def test_one_word() -> None:
    picture = draw_cloud([("dog", 0.3)], (301, 201))
    assert (picture.size, picture.mode) == ((301, 201), "RGB")
    assert len(colours(picture)) > 1


def test_no_words_are_an_empty_panel_that_says_so() -> None:
    picture = draw_cloud([], SIZE)
    assert picture.size == SIZE
    assert len(colours(picture)) > 1


def test_a_contact_sheet_has_room_for_what_the_command_draws() -> None:
    """Forty words by default; of six letters here."""
    words = [(f"word{n:02d}", 1.5 - n / 45) for n in range(40)]
    assert len(drawing._largest_that_fits(words, (CELL[0] // 2, CELL[1] // 2)).layout_) == 40


def test_the_lightest_are_left_out_where_there_is_no_room() -> None:
    words = [(f"extraordinary{n}", 2 - n / 200) for n in range(200)]
    drawn = list(layout(words))
    assert 20 < len(drawn) < 200
    assert drawn == [word for word, _ in words[: len(drawn)]]
    assert draw_cloud(words, SIZE).size == SIZE


def test_a_word_longer_than_the_panel() -> None:
    picture = draw_cloud([("w" * 255, 1.0), ("dog", 0.5)], SIZE)
    assert picture.size == SIZE
    assert len(colours(picture)) > 1


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wordcloud", None)
    with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[viz\]'"):
        draw_cloud(WORDS, SIZE)
