"""Texts as tokens: what is no text, and what is no tokenizer, is told in one line."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.inputs.texts import TextTokenizer


class TestTokenizer:
    def test_pads_to_the_longest_of_the_call(self, tokenizer_json: bytes) -> None:
        tokenize = TextTokenizer(tokenizer_json, 12)
        ids, mask = tokenize(["a dog", "two dogs play in the park"])
        assert ids.dtype == mask.dtype == np.int64
        assert ids.shape == mask.shape
        assert mask[1].all()
        assert mask[0].tolist() == [1] * 4 + [0] * (ids.shape[1] - 4)
        assert not ids[0, 4:].any()
        short, _ = tokenize(["a dog"])
        np.testing.assert_array_equal(short, ids[:1, :4])

    @pytest.mark.parametrize("max_length", [3, 5, 12])
    def test_truncates_specials_included(self, tokenizer_json: bytes, max_length: int) -> None:
        tokenize = TextTokenizer(tokenizer_json, max_length)
        ids, mask = tokenize(["a dog runs on the green grass " * 1000])
        assert ids.shape == (1, max_length)
        assert mask.all()
        empty, _ = tokenize([""])
        np.testing.assert_array_equal(ids[0, [0, -1]], empty[0])

    def test_says_which_were_cut(self, tokenizer_json: bytes) -> None:
        tokenize = TextTokenizer(tokenizer_json, 4)
        tokens = tokenize.encode(["a dog", "a dog runs", "", "a dog and a dog and a dog and a dog"])
        assert tokens.cut.tolist() == [False, True, False, True]
        np.testing.assert_array_equal(tokens.ids, tokenize(["a dog", "a dog runs", "", "a dog and"])[0])
        assert tokenize.encode([]).cut.shape == (0,)

    def test_no_text_and_empty_text(self, tokenizer_json: bytes) -> None:
        tokenize = TextTokenizer(tokenizer_json, 12)
        assert [array.shape for array in tokenize([])] == [(0, 0), (0, 0)]
        ids, mask = tokenize(["", "  "])
        assert ids.shape == (2, 2)
        assert mask.all()

    def test_the_files_own_settings_do_not_matter(self, tokenizer_json: bytes) -> None:
        fields = json.loads(tokenizer_json)
        fields["truncation"] = {"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
        fields["padding"] = {
            "strategy": {"Fixed": 9},
            "direction": "Left",
            "pad_to_multiple_of": 8,
            "pad_id": 3,
            "pad_type_id": 0,
            "pad_token": "[SEP]",
        }
        other = TextTokenizer(json.dumps(fields).encode(), 12)
        texts = ["a dog", "a dog runs on the green grass"]
        for ours, theirs in zip(TextTokenizer(tokenizer_json, 12)(texts), other(texts), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize("text", [None, 3, b"dog", ["dog"], float("nan")])
    def test_only_str(self, tokenizer_json: bytes, text: Any) -> None:
        with pytest.raises(InputError, match=f"must be a str, not {type(text).__name__}"):
            TextTokenizer(tokenizer_json, 12)(["a dog", text])

    def test_a_str_is_not_a_list_of_its_letters(self, tokenizer_json: bytes) -> None:
        with pytest.raises(InputError, match="expected a list"):
            TextTokenizer(tokenizer_json, 12)("a dog")

    def test_half_a_surrogate_pair(self, tokenizer_json: bytes) -> None:
        tokenize = TextTokenizer(tokenizer_json, 12)
        np.testing.assert_array_equal(tokenize(["a \udcff dog"])[0], tokenize(["a ? dog"])[0])

    @pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\x00", b"null", b'{"model": {"type": "None"}}'])
    def test_garbage(self, data: bytes) -> None:
        with pytest.raises(BundleError, match=r"tokenizer\.json: not a tokenizer"):
            TextTokenizer(data, 12)

    @settings(max_examples=100, deadline=None)
    @given(position=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
    def test_a_flipped_byte_is_harmless_or_a_bundle_error(
        self, tokenizer_json: bytes, position: float, value: int
    ) -> None:
        data = bytearray(tokenizer_json)
        data[int(position * len(data))] ^= value
        with contextlib.suppress(BundleError):
            TextTokenizer(bytes(data), 12)
