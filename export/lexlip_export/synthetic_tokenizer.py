"""A WordPiece tokenizer of any size with BERT's layout and invented words, for models that never saw a word."""

from __future__ import annotations

import itertools
import string

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from lexlip_kernels.errors import InputError

__all__ = ["synthetic_tokenizer"]

#: Where BERT has them; the ids below 104 that are left go to [unused...] terms, as in BERT.
_SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_CHARACTERS = string.punctuation + string.digits + string.ascii_lowercase


def synthetic_tokenizer(vocab_size: int) -> Tokenizer:
    """Lower-casing WordPiece whose pieces cover any ASCII text: characters, then words of one syllable and more.

    Args:
        vocab_size: V, at least 256.

    Raises:
        InputError: fewer terms than the special tokens and characters need.
    """
    terms = _terms()
    if vocab_size < 256:
        raise InputError(f"a vocabulary of {vocab_size} terms was asked for; expected at least 256")
    vocabulary = {term: i for i, term in enumerate(itertools.islice(terms, vocab_size))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  (a token of text)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", _SPECIAL["[SEP]"]), ("[CLS]", _SPECIAL["[CLS]"]))
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def _terms() -> itertools.chain[str]:
    """Terms without end and without repetition, in the order of their ids."""
    by_id = {i: token for token, i in _SPECIAL.items()}
    head = (by_id.get(i, f"[unused{i}]") for i in range(max(by_id) + 1))
    characters = itertools.chain(_CHARACTERS, (f"##{c}" for c in _CHARACTERS if c.isalnum()))
    continuations = (f"##{syllable}" for syllable in _SYLLABLES)
    words = ("".join(word) for length in itertools.count(1) for word in itertools.product(_SYLLABLES, repeat=length))
    return itertools.chain(head, characters, continuations, words)
