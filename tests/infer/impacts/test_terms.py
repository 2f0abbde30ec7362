"""Which terms an Anserini index can hold."""

from __future__ import annotations

import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.impacts import JsonLinesWriter, check_terms


@pytest.mark.parametrize(
    "term",
    ["[PAD]", "##ing", 'a"b', "\\", "é", "日本", "Ġword", "▁word", "x" * 255, "\u200b", "😀" * 127],
)
def test_accepts(term: str) -> None:
    check_terms(["other", term])


@pytest.mark.parametrize(
    ("term", "fault"),
    [
        ("", "is empty"),
        ("two words", "white space"),
        ("tab\t", "white space"),
        ("\u00a0", "white space"),
        ("\u2028", "white space"),
        ("\u3000", "white space"),
        ("bell\x07", "control character"),
        ("\x7f", "control character"),
        ("\x85", "control character"),
        ("half\ud83d", "lone surrogate"),
        ("x" * 256, "is 256 UTF-16 units long"),
        ("😀" * 128, "is 256 UTF-16 units long"),
        ("first", "is the same as term 0"),
        (None, "is not a string"),
    ],
)
def test_refuses(term: str, fault: str) -> None:
    with pytest.raises(InputError, match=f"term 1, .*{fault}.*; expected .* repair the vocabulary"):
        JsonLinesWriter(["first", term])
