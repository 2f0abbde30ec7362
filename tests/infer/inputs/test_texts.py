"""Texts as tokens: what is no text, and what is no tokenizer, is told in one line."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.inputs import texts as module
from lexlip_infer.inputs.texts import TextTokenizer
from lexlip_infer.vocabulary import MOST_GROWTH, REGULAR_EXPRESSIONS


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


class TestLongTexts:
    """Characters beyond what can matter are left out before they are tokenised."""

    @pytest.fixture
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "CHARACTERS", 60)
        monkeypatch.setattr(module, "CHARACTERS_A_TOKEN", 4)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_the_tokens_that_are_kept_stay_the_same(
        self, side: Literal["left", "right"], tokenizer_json: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = ["a dog runs on the green grass, two children " * 12, "a cat " * 40, "a dog", "", "two dogs " * 5]
        plain = TextTokenizer(tokenizer_json, 12, side)
        expected = plain.encode(given)
        assert max(map(len, given)) < plain.characters, "none is shortened"
        monkeypatch.setattr(module, "CHARACTERS", 100)
        monkeypatch.setattr(module, "CHARACTERS_A_TOKEN", 4)
        bounded = TextTokenizer(tokenizer_json, 12, side)
        assert bounded.characters == 100
        for ours, theirs in zip(bounded.encode(given), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.usefixtures("few")
    def test_no_word_is_split_and_white_space_is_no_loss(self, tokenizer_json: bytes) -> None:
        tokenize = TextTokenizer(tokenizer_json, 12)
        text = "a dog" + " " * 50 + "grassgrassgrass"
        tokens = tokenize.encode([text, "a dog" + " " * 500])
        np.testing.assert_array_equal(tokens.ids[0], tokenize(["a dog"])[0][0])
        assert tokens.cut.tolist() == [True, False]

    @pytest.mark.usefixtures("few")
    def test_few_texts_at_a_time_are_as_many_as_all(
        self, tokenizer_json: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = ["a dog runs", "a cat sleeps on a wooden chair", "", "kites " * 30] * 5
        bounded = TextTokenizer(tokenizer_json, 12)
        assert len(list(bounded._parts(given))) > 5
        assert [text for part in bounded._parts(given) for text in part] == given
        monkeypatch.undo()
        for ours, theirs in zip(bounded.encode(given), TextTokenizer(tokenizer_json, 12).encode(given), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_a_model_of_many_tokens_gets_more(self, tokenizer_json: bytes) -> None:
        assert TextTokenizer(tokenizer_json, 12).characters == module.CHARACTERS
        assert TextTokenizer(tokenizer_json, 1000).characters == 1000 * module.CHARACTERS_A_TOKEN


class TestRules:
    """A tokenizer is a stranger's program; what its rules could make of a text is bounded before they run."""

    @staticmethod
    def changed(tokenizer_json: bytes, **fields: Any) -> bytes:
        return json.dumps(json.loads(tokenizer_json) | fields).encode()

    @pytest.mark.parametrize("count", [1, 2])
    def test_growth(self, count: int, tokenizer_json: bytes) -> None:
        rule = {"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 21}
        data = self.changed(tokenizer_json, normalizer={"type": "Sequence", "normalizers": [rule] * count})
        if count == 1:
            assert TextTokenizer(data, 12)(["a dog"])[0].shape[0] == 1
            return
        with pytest.raises(BundleError, match=rf"make a text 441 times as long; expected at most {MOST_GROWTH}"):
            TextTokenizer(data, 12)

    @pytest.mark.parametrize(
        ("normalizer", "said"),
        [
            ({"type": "Replace", "pattern": {"String": ""}, "content": "b"}, "inf times as long"),
            ({"type": "Prepend", "prepend": "b" * 500}, "501 times as long"),
            ({"type": "Replace", "pattern": {"Regex": "a+b"}, "content": ""}, r"regular expression 'a\+b', which may"),
            (
                {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": True, "strip_right": True}] * 65},
                "66 rules; expected at most 64",
            ),
        ],
    )
    def test_refused(self, normalizer: dict[str, Any], said: str, tokenizer_json: bytes) -> None:
        with pytest.raises(BundleError, match=said):
            TextTokenizer(self.changed(tokenizer_json, normalizer=normalizer), 12)

    @pytest.mark.parametrize("pattern", [*REGULAR_EXPRESSIONS, "b+c"])
    def test_expressions_that_split(self, pattern: str, tokenizer_json: bytes) -> None:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        data = self.changed(tokenizer_json, pre_tokenizer=split)
        if pattern in REGULAR_EXPRESSIONS:
            assert TextTokenizer(data, 12)(["a dog"])[0].shape[0] == 1
            return
        with pytest.raises(BundleError, match=r"Split with the regular expression 'b\+c', which may take without end"):
            TextTokenizer(data, 12)

    def test_words_and_padding(self, tokenizer_json: bytes) -> None:
        fields = json.loads(tokenizer_json)
        padding = {"strategy": {"Fixed": 10**8}, "direction": "Left", "pad_to_multiple_of": None}
        padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
        with pytest.raises(BundleError, match="pads it to them; expected at most 65,536"):
            TextTokenizer(self.changed(tokenizer_json, padding=padding), 12)
        model = fields["model"] | {"max_input_chars_per_word": 10**6}
        with pytest.raises(BundleError, match="max_input_chars_per_word is 1,000,000; expected at most 256"):
            TextTokenizer(self.changed(tokenizer_json, model=model), 12)

    @pytest.mark.parametrize(("longest", "fits"), [(128, True), (129, False)])
    def test_pieces_of_a_unigram_model(self, longest: int, fits: bool, tokenizer_json: bytes) -> None:
        model = {
            "type": "Unigram",
            "unk_id": 0,
            "vocab": [["[UNK]", 0.0], ["a" * longest, -1.0]],
            "byte_fallback": False,
        }
        data = self.changed(tokenizer_json, model=model, added_tokens=[], post_processor=None)
        if fits:
            assert TextTokenizer(data, 12)(["a dog"])[0].shape[0] == 1
            return
        with pytest.raises(BundleError, match="a piece of 129 characters; expected at most 128"):
            TextTokenizer(data, 12)

    def test_no_room_for_a_text(self, tokenizer_json: bytes) -> None:
        with pytest.raises(BundleError, match="adds 2 tokens to a text; the model takes 2 in all"):
            TextTokenizer(tokenizer_json, 2)

    def test_a_tokenizer_that_fails_on_a_text(self, tokenizer_json: bytes) -> None:
        fields = json.loads(tokenizer_json)
        model = fields["model"] | {"unk_token": "[GONE]"}
        tokenize = TextTokenizer(self.changed(tokenizer_json, model=model), 12)
        with pytest.raises(BundleError, match=r"tokenizer\.json: fails on a text \(.*Missing"):
            tokenize(["ß∂ƒ"])
