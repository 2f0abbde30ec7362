"""Which whole words make a vocabulary, and the tokenizer of them.

A word that a caption, a class or a frequent thing is called by is a term of its own. The one rule of inflection: what
is another word and an ending "s" or "es", and has no meaning of its own in WordNet, is that word and a suppressed
piece (`##s`, `##es`); a plural in "-ies" is a word of its own. Punctuation is left out. A word outside the vocabulary
is [UNK], never a heap of pieces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from lexlip_training.lexicon.wordnet import ABSTRACT, WordNet, words_of
from lexlip_training.wordpiece import ENDINGS, FUNCTION_WORDS, SPECIAL_TOKENS, whole_or_unknown, wordpiece_tokenizer

#: Frequencies on the Zipf scale (log10 of uses in a billion words): below it a caption's word is taken for a slip of
#: the pen; from it on a concrete noun, and from the last any other word, comes in without standing in a caption.
SLIP, NOUN, OTHER = 1.5, 3.3, 5.0

#: Below it a kind's name is a scholar's (malacopterygian), and a plural in "-ies" no term of its own.
KIND, PLURAL = 2.6, 2.8

_WORD = re.compile(r"[a-z]{2,}|[0-9]")


def choose_words(
    captions: Iterable[str], classes: Iterable[str], wordnet: WordNet, frequent: Iterable[tuple[str, float]]
) -> list[str]:
    """The words of a vocabulary, those of the captions first, the most frequent at the beginning.

    Args:
        captions: training texts.
        classes: keys of the synsets that an image classifier knows.
        wordnet: what words mean.
        frequent: words and their Zipf frequencies, all that are to be thought of.
    """
    zipf = dict(frequent)
    words = [*_seen(captions, wordnet, zipf), *_named(classes, wordnet, zipf), *_common(wordnet, zipf)]
    plurals = (f"{word[:-1]}ies" for word in words if word.endswith("y"))
    every = dict.fromkeys([*FUNCTION_WORDS, *words, *(word for word in plurals if zipf.get(word, 0) >= PLURAL)])
    return [word for word in every if not _is_inflected(word, every, wordnet)]


def _seen(captions: Iterable[str], wordnet: WordNet, zipf: Mapping[str, float]) -> list[str]:
    """Words that captions use more than once, slips of the pen and slurs left out."""
    clean = normalizers.BertNormalizer(lowercase=True)
    counts = Counter(word for caption in captions for word in _WORD.findall(clean.normalize_str(caption)))
    return [
        word
        for word, count in counts.most_common()
        if count > 1 and (word in wordnet.senses or zipf.get(word, 0) >= SLIP)
        if not wordnet.is_offensive(word, any_sense=False)
    ]


def _named(classes: Iterable[str], wordnet: WordNet, zipf: Mapping[str, float]) -> list[str]:
    """Words of the classes, and of what they are kinds of where people say it."""
    return [
        word
        for key in classes
        for steps, synset in wordnet.kinds(key)
        for word, _ in words_of(synset.lemmas)
        if _WORD.fullmatch(word) and word not in ABSTRACT and (steps == 0 or zipf.get(word, 0) >= KIND)
    ]


def _common(wordnet: WordNet, zipf: Mapping[str, float]) -> list[str]:
    """Frequent names of things that can be seen, and very frequent words of any kind."""
    return [
        word
        for word, frequency in sorted(zipf.items(), key=lambda item: -item[1])
        if _WORD.fullmatch(word) and len(word) > 2 and not wordnet.is_offensive(word, any_sense=True)
        if (frequency >= NOUN and wordnet.first_is_concrete(word)) or (frequency >= OTHER and word in wordnet.senses)
    ]


def _is_inflected(word: str, words: Container[str], wordnet: WordNet) -> bool:
    if word in wordnet.senses or word in FUNCTION_WORDS:
        return False
    return any(
        word.endswith(ending) and len(word) > len(ending) + 2 and word.removesuffix(ending) in words
        for ending in ENDINGS
    )


def word_tokenizer(words: list[str]) -> Tokenizer:
    """BERT's tokenizer over whole words, without punctuation: special tokens, the endings, then the words."""
    pieces = [*SPECIAL_TOKENS, *(f"##{ending}" for ending in ENDINGS), *words]
    tokenizer = wordpiece_tokenizer(whole_or_unknown({piece: number for number, piece in enumerate(pieces)}))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("removed")]
    )
    return tokenizer
