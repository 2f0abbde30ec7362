"""Text that has to fit."""

from __future__ import annotations

import pytest

from lexlip_infer.explain.drawing import font, printable, shorten, wrap

LETTERS_SIZE = 20


@pytest.mark.parametrize("text", ["a", "a dog", "a dog runs on the beach " * 3, "x" * 300, "one\ntwo\tthree"])
def test_wrapped_lines_fit(text: str) -> None:
    letters = font(LETTERS_SIZE)
    lines = wrap(text, letters, 200, lines=3).split("\n")
    assert len(lines) <= 3
    assert all(letters.getlength(line) <= 200 for line in lines)
    if len(text) < 20:
        assert " ".join(lines) == " ".join(text.split())


def test_what_is_left_out_shows() -> None:
    assert wrap("a dog runs on the beach " * 30, font(LETTERS_SIZE), 200, lines=3).endswith("…")


def test_a_long_text_is_no_long_wait() -> None:
    assert wrap("word " * 50_000, font(LETTERS_SIZE), 200, lines=2).endswith("…")


def test_long_names_lose_their_middle() -> None:
    letters = font(15)
    short = shorten("photographs/" + "sub/" * 30 + "dog.jpg", letters, 200)
    assert letters.getlength(short) <= 200
    assert short.startswith("photogr")
    assert short.endswith("dog.jpg")
    assert "…" in short
    assert shorten("dog.jpg", letters, 200) == "dog.jpg"


def test_hostile_names_are_escaped() -> None:
    assert printable("a\nb\x1b[31m\udcff") == "a\\nb\\x1b[31m\\udcff"
    assert shorten("a\nb", font(15), 200) == "a\\nb"
