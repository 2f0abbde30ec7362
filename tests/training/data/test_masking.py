"""Whole-word masking against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenizers import Tokenizer

from lexlip_kernels.errors import InputError
from lexlip_training.data.batch import IGNORED
from lexlip_training.data.masking import Masked, WholeWordMasker
from lexlip_training.wordpiece import bert_tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(ord("a") + i) for i in range(20)), "##x", "##y"]
CLS, SEP, MASK, UNK, FIRST, X, Y = 2, 3, 4, 1, 5, 25, 26
LENGTH = 40
RATES = (0.3, 0.5)


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    return bert_tokenizer("\n".join(PIECES))


def text(*tokens: int) -> np.ndarray:
    return np.array([CLS, *tokens, SEP], np.int64)


def hidden(masked: Masked) -> set[int]:
    return set(np.flatnonzero(masked.labels != IGNORED).tolist())


def many(masker: WholeWordMasker, ids: np.ndarray, times: int) -> list[tuple[Masked, Masked]]:
    return [masker(ids, np.random.default_rng((1, number))) for number in range(times)]


def within(count: int, trials: int, rate: float) -> bool:
    """Five standard deviations of a binomial."""
    return abs(count - trials * rate) < 5 * math.sqrt(trials * rate * (1 - rate))


@pytest.mark.parametrize("words", [5, 20, 38])
def test_rates_do_not_depend_on_the_length(pieces: Tokenizer, words: int) -> None:
    drawn = many(WholeWordMasker(pieces, LENGTH, RATES), text(*[FIRST] * words), 1000)
    for which, expected in ((0, 12 / 38), (1, 20 / 38)):  # round(.3*40) and round(.5*40) of 38 places
        assert within(sum(len(hidden(pair[which])) for pair in drawn), 1000 * words, expected)


def test_a_full_caption_has_exactly_the_rounded_number(pieces: Tokenizer) -> None:
    for encoder, decoder in many(WholeWordMasker(pieces, LENGTH, RATES), text(*[FIRST] * 38), 20):
        assert (len(hidden(encoder)), len(hidden(decoder))) == (12, 20)


def test_short_captions_may_stay_whole(pieces: Tokenizer) -> None:
    # 5 words: C(33, 12) / C(38, 12) = 0.131 of the draws hit paddings alone, C(33, 20) / C(38, 20) = 0.0171.
    ids = text(*range(FIRST, FIRST + 5))
    drawn = many(WholeWordMasker(pieces, LENGTH, RATES), ids, 2000)
    for which, places in ((0, 12), (1, 20)):
        expected = math.comb(33, places) / math.comb(38, places)
        assert within(sum(not hidden(pair[which]) for pair in drawn), 2000, expected)
    forced = many(WholeWordMasker(pieces, LENGTH, RATES, at_least_one=True), ids, 300)
    assert all(hidden(masked) for pair in forced for masked in pair)


def test_eighty_ten_ten(pieces: Tokenizer) -> None:
    ids = text(*[FIRST] * 38)
    masked = [pair[1] for pair in many(WholeWordMasker(pieces, LENGTH, RATES), ids, 500)]
    total = 500 * 20
    inputs = np.concatenate([one.input_ids[one.labels != IGNORED] for one in masked])
    others = len(PIECES) - 2  # a random term may be [MASK] or the word itself
    assert within(int((inputs == MASK).sum()), total, 0.8 + 0.1 / len(PIECES))
    assert within(int((inputs == FIRST).sum()), total, 0.1 + 0.1 / len(PIECES))
    assert within(int(((inputs != FIRST) & (inputs != MASK)).sum()), total, 0.1 * others / len(PIECES))
    assert all((one.labels[one.labels != IGNORED] == FIRST).all() for one in masked)


def test_words_are_hidden_whole_and_edges_never(pieces: Tokenizer) -> None:
    ids = text(FIRST, X, Y, FIRST + 1, FIRST + 2, X)
    words = [{1, 2, 3}, {4}, {5, 6}]
    for pair in many(WholeWordMasker(pieces, 10, (0.5, 0.9)), ids, 200):
        for masked in pair:
            places = hidden(masked)
            assert all(word <= places or not word & places for word in words)
            assert not places & {0, 7}
            untouched = masked.labels == IGNORED
            assert (masked.input_ids[untouched] == ids[untouched]).all()


def test_a_word_that_no_longer_fits_is_passed_over(pieces: Tokenizer) -> None:
    # One place is drawn; the only real word has two pieces: it never fits, and only the option hides it.
    ids = text(FIRST, X)
    assert not any(hidden(pair[0]) for pair in many(WholeWordMasker(pieces, 4, (0.25, 0.25)), ids, 20))
    forced = WholeWordMasker(pieces, 4, (0.25, 0.25), at_least_one=True)
    assert all(hidden(pair[0]) == {1, 2} for pair in many(forced, ids, 20))


def test_inclusive_and_independent_masks(pieces: Tokenizer) -> None:
    ids = text(*[FIRST] * 30)
    assert all(
        hidden(encoder) <= hidden(decoder)
        for encoder, decoder in many(WholeWordMasker(pieces, LENGTH, RATES, inclusive=True), ids, 100)
    )
    both = [len(hidden(e) & hidden(d)) for e, d in many(WholeWordMasker(pieces, LENGTH, RATES), ids, 500)]
    assert within(sum(both), 500 * 30, 12 / 38 * 20 / 38)


def test_unknown_words_are_not_predicted(pieces: Tokenizer) -> None:
    forced = WholeWordMasker(pieces, LENGTH, RATES, at_least_one=True)
    assert not any(hidden(m) for pair in many(forced, text(UNK, UNK), 20) for m in pair)
    assert not any(hidden(m) for pair in many(forced, text(), 5) for m in pair)


def test_one_seed_one_masking(pieces: Tokenizer) -> None:
    ids, masker = text(*range(FIRST, FIRST + 10)), WholeWordMasker(pieces, LENGTH, RATES)
    (first, _), (again, _) = many(masker, ids, 1)[0], many(masker, ids, 1)[0]
    assert (first.input_ids == again.input_ids).all()
    assert (first.labels == again.labels).all()


def test_refusals(pieces: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"masking rates \(1.5, 0\)"):
        WholeWordMasker(pieces, LENGTH, (1.5, 0))
    with pytest.raises(InputError, match=r"needs a tokenizer with \[MASK\]"):
        WholeWordMasker(bert_tokenizer("[PAD]\n[UNK]\n[CLS]\n[SEP]\na"), LENGTH, RATES)
