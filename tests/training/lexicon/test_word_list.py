"""Which words become terms, and what a text of them is cut into."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_wordnet import write_wordnet
from tokenizers import Tokenizer

from lexlip_training.lexicon.word_list import choose_words, word_tokenizer
from lexlip_training.lexicon.wordnet import WordNet
from lexlip_training.wordpiece import FUNCTION_WORDS, suppressed_terms

CAPTIONS = [
    "The dogs watch the news, an oaf too!",
    "Dogs, news: a DOG with glasses.",
    "glasses on a dog, an oaf",
    "teh teh",
]
#: Zipf frequencies: of things, of another word, of a slur, of plurals, of a word without a meaning.
FREQUENT = {"pony": 4.0, "ball": 3.4, "run": 5.5, "oaf": 5.0, "ponies": 3.5, "dogs": 4.5, "fast": 4.9, "qwerty": 5.9}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    net = WordNet(write_wordnet(tmp_path_factory.mktemp("wordnet")))
    return choose_words(CAPTIONS, ["n00000430"], net, FREQUENT.items())


@pytest.fixture(scope="module")
def tokenizer(words: list[str]) -> Tokenizer:
    return word_tokenizer(words)


def test_where_words_come_from(words: list[str]) -> None:
    assert words[: len(FUNCTION_WORDS)] == FUNCTION_WORDS
    chosen = words[len(FUNCTION_WORDS) :]
    assert {"news", "glasses"} <= set(chosen)  # of captions
    assert {"soccer", "ball"} <= set(chosen)  # of a class
    assert {"pony", "run", "ponies"} <= set(chosen)  # frequent: a thing, another word, a plural that no ending makes
    assert len(set(words)) == len(words)


def test_what_stays_out(words: list[str]) -> None:
    assert "oaf" not in words  # a slur, though two captions have it and it is frequent
    assert "artifact" not in words  # too general
    assert "fast" not in words  # no thing, and not frequent enough
    assert "qwerty" not in words  # means nothing
    assert "teh" not in words  # a slip of the pen
    assert "watch" not in words  # in one caption alone
    assert "glass" not in words


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Dogs", ["dog", "##s"]),
        ("ponies", ["ponies"]),
        ("news", ["news"]),
        ("glasses", ["glasses"]),
        ("zebra", ["[UNK]"]),
        ("dogged", ["[UNK]"]),
        ("A dog, (the) ball!", ["a", "dog", "the", "ball"]),
        ("soccer-ball", ["soccer", "ball"]),
        ("d\u00f6g", ["dog"]),
    ],
)
def test_inflection(tokenizer: Tokenizer, text: str, pieces: list[str]) -> None:
    assert tokenizer.encode(text).tokens == ["[CLS]", *pieces, "[SEP]"]


def test_a_word_that_only_its_plural_is_seen_of_stays_whole(tmp_path: Path) -> None:
    net = WordNet(write_wordnet(tmp_path))
    words = choose_words(["two dogs", "many dogs"], [], net, {"dogs": 4.5}.items())
    assert word_tokenizer(words).encode("dogs").tokens[1:-1] == ["dogs"]


def test_endings_and_function_words_say_nothing(tokenizer: Tokenizer) -> None:
    suppressed = {tokenizer.id_to_token(number) for number in suppressed_terms(tokenizer)}
    assert suppressed == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##s", "##es", *FUNCTION_WORDS}
