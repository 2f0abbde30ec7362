"""Vocabulary: ids are columns, so each must have exactly one name."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models

from lexlip_infer.errors import BundleError
from lexlip_infer.vocabulary import Vocabulary


def test_ids_and_terms_are_each_other(tokenizer_json: bytes) -> None:
    tokenizer = Tokenizer.from_buffer(tokenizer_json)
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert len(vocabulary) == tokenizer.get_vocab_size() > 50
    assert vocabulary.terms[0] == "[PAD]"
    assert any(term.startswith("##") for term in vocabulary.terms)
    for i, term in enumerate(vocabulary.terms):
        assert vocabulary.ids[term] == i == tokenizer.token_to_id(term)


def test_added_tokens_count() -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "dog": 1}, unk_token="[UNK]"))
    tokenizer.add_tokens(["harbour"])
    assert Vocabulary.from_tokenizer(tokenizer).terms == ("[UNK]", "dog", "harbour")


def test_a_column_without_a_name_is_refused() -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "dog": 2}, unk_token="[UNK]"))
    with pytest.raises(BundleError, match="2 terms do not have the ids 0 to 1"):
        Vocabulary.from_tokenizer(tokenizer)


def test_short_representation() -> None:
    assert repr(Vocabulary(("a", "b"))) == "Vocabulary(2 terms)"


def test_equality_and_hash_are_those_of_the_terms() -> None:
    assert Vocabulary(("a", "b")) == Vocabulary(("a", "b")) != Vocabulary(("b", "a"))
    assert len({Vocabulary(("a", "b")), Vocabulary(("a", "b"))}) == 1
