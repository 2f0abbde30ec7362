"""WordNet's files, read as its manual pages say; on a few entries of our own."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_wordnet import write_wordnet

from lexlip_kernels.errors import InputError
from lexlip_training.lexicon.wordnet import WordNet, words_of


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    return WordNet(write_wordnet(tmp_path_factory.mktemp("wordnet")))


def test_a_meaning_is_read_whole(net: WordNet) -> None:
    dog = net.synsets["n00000200"]
    assert dog.lemmas == ("dog", "domestic dog")
    assert (dog.category, dog.kinds, dog.named, dog.usage) == (5, ("n00000100",), False, ())
    assert dog.gloss == "a barker"  # without the example
    assert net.synsets["a00000100"].lemmas == ("red",)  # without the mark of its place
    assert net.synsets["a00000110"].kinds == ()  # what is similar is no kind
    assert net.synsets["v00000100"].gloss == "move fast"
    assert net.senses["dog"] == ("n00000200", "n00000210")
    assert net.senses["fast"] == ("r00000100",)


def test_kinds_come_once_and_by_least_distance(net: WordNet) -> None:
    kinds = [(steps, synset.lemmas[0]) for steps, synset in net.kinds("n00000210")]
    assert kinds == [(0, "spotted hound"), (1, "dog"), (1, "animal"), (2, "entity")]


def test_what_can_be_seen_and_is_no_proper_name(net: WordNet) -> None:
    assert net.first_is_concrete("dog")
    assert net.synsets["n00000220"].named
    assert not net.first_is_concrete("rex")
    assert not net.first_is_concrete("news")
    assert not net.first_is_concrete("run")
    assert not net.first_is_concrete("nothing of it")


def test_offensive_uses_are_known(net: WordNet) -> None:
    assert net.is_offensive("oaf", any_sense=False)
    assert not net.is_offensive("clown", any_sense=False)
    assert net.is_offensive("clown", any_sense=True)
    assert not net.is_offensive("dog", any_sense=True)


def test_the_last_word_of_a_name_says_what_it_is() -> None:
    assert list(words_of(["soccer ball", "jack-o'-lantern"])) == [
        ("ball", 1.0),
        ("soccer", 0.6),
        ("lantern", 1.0),
        ("jack", 0.6),
        ("o'", 0.6),
    ]
    assert list(words_of(["-"])) == [("-", 1.0)]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("data.adv", None, "No such file"),
        ("data.noun", "00000001 03 n 01 entity 0 000\nnot a line of WordNet\n", "invalid literal"),
        ("data.noun", "00000001 03 n 09 entity\n", "index out of range"),
        ("index.verb", "run v\n", "index out of range"),
        ("index.verb", "run v 1 0 1 0 00000999\n", "has no meaning v00000999"),
        ("data.adj", "00000100 00 a 01 red 0 001 @ 00000300 a 0000 | of a colour\n", "has no meaning a00000300"),
    ],
)
def test_damaged_files_are_told_in_one_line(tmp_path: Path, file: str, text: str | None, message: str) -> None:
    folder = write_wordnet(tmp_path)
    (folder / file).unlink() if text is None else (folder / file).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        WordNet(folder)
    assert "\n" not in str(caught.value)
    assert "WordNet 3.0" in str(caught.value)
