"""A WordPiece vocabulary of one's own, trained on captions, and the terms in it that must never get a weight."""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

__all__ = ["SPECIAL_TOKENS", "suppressed_terms", "train_wordpiece"]

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

#: Words that stand in almost every caption and say nothing about a picture. As index terms they would only make
#: long posting lists.
FUNCTION_WORDS = """
    a an the is are was were be being been am of and or to in on at by for from with as it its his her their them he she
    they this that these those there while who which has have
""".split()  # noqa: SIM905  (one string a word would hide the words)


def train_wordpiece(captions: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train BERT's kind of tokenizer: lower case, punctuation split off, `##` continues a word.

    Args:
        captions: training texts.
        vocab_size: V, special tokens included.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106  (a token of text)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=list(string.ascii_lowercase + string.digits),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    ids = tokenizer.get_vocab()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return tokenizer


def suppressed_terms(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Ids of special tokens, punctuation and function words, ascending."""
    words = set(SPECIAL_TOKENS) | set(FUNCTION_WORDS)
    vocabulary = tokenizer.get_vocab()
    return tuple(sorted(i for term, i in vocabulary.items() if term in words or not any(c.isalnum() for c in term)))
