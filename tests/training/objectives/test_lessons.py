"""Lessons without pictures: verdicts that a classifier might give, names and meanings that fit them."""

from __future__ import annotations

import random

import pytest
import torch
from small_lexicon import CLASSES, small_lexicon
from torch.nn.functional import normalize

from lexlip_training.objectives.lessons import Lessons
from lexlip_training.wordpiece import suppressed_terms

LEXICON = small_lexicon()


def read(ids: list[int]) -> str:
    """A text without the tokens at its ends."""
    return " ".join(LEXICON.tokenizer.id_to_token(number) for number in ids[1:-1])


@pytest.fixture
def lessons() -> Lessons:
    random.seed(0)
    torch.manual_seed(0)
    return Lessons(LEXICON, suppressed_terms(LEXICON.tokenizer))


def test_a_made_up_verdict_doubts_only_among_related_classes(lessons: Lessons) -> None:
    names, kinds = list(CLASSES), list(CLASSES.values())
    for _ in range(20):
        lesson = lessons.draw(4)
        assert len(set(lesson.classes.tolist())) == 4
        torch.testing.assert_close(lesson.verdicts.sum(1), torch.ones(4))
        for number, verdict in zip(lesson.classes.tolist(), lesson.verdicts, strict=True):
            assert verdict[number] >= 0.3
            doubts = {names[other] for other in verdict.nonzero().ravel().tolist()} - {names[number]}
            assert doubts <= {name for name, kind in CLASSES.items() if kind == kinds[number]}
            if kinds[number] == "animal":
                assert doubts


def test_names_and_meanings_are_of_what_is_asked(lessons: Lessons) -> None:
    seen = set()
    for _ in range(20):
        lesson = lessons.draw(3)
        for number, ids in zip(lesson.classes.tolist(), lesson.names, strict=True):
            assert read(ids) in LEXICON.class_names[number]
        for ids, words in zip(lesson.meanings, lesson.meaning_words, strict=True):
            seen.add(read(ids))
            assert words.sum() == pytest.approx(1)
            kind = LEXICON.tokenizer.id_to_token(int(words.argsort(descending=True)[1]))
            assert kind in CLASSES.values()
            assert kind in read(ids) or read(ids) in CLASSES
    assert len(seen) > 5  # name, definition, and both


def test_there_are_no_more_lessons_than_classes(lessons: Lessons) -> None:
    assert len(lessons.draw(64).classes) == len(CLASSES)


def test_names_are_called_by_the_terms_of_the_first(lessons: Lessons) -> None:
    weights = torch.linspace(0.1, 2, LEXICON.tokenizer.get_vocab_size())
    units = normalize(torch.rand(3, len(weights)), dim=1)
    queries = torch.zeros(len(CLASSES), len(weights))
    for row, name in zip(queries, CLASSES, strict=True):
        row[LEXICON.tokenizer.token_to_id(name)] = 1.0
    torch.testing.assert_close(lessons.called(units, weights), units @ normalize(queries * weights, dim=1).T)


def test_nothing_of_it_is_trained_or_saved(lessons: Lessons) -> None:
    assert not list(lessons.parameters())
    assert not lessons.state_dict()


def test_suppressed_terms_are_no_words_of_a_class() -> None:
    dog = LEXICON.tokenizer.token_to_id("dog")
    lessons = Lessons(LEXICON, [dog])
    assert lessons.class_words[:, dog].eq(0).all()
    torch.testing.assert_close(lessons.class_words.sum(1), torch.ones(len(CLASSES)))
    assert lessons.draw(5).meaning_words[:, dog].eq(0).all()


def test_the_tokenizer_of_the_lexicon_stays_as_it_was() -> None:
    before = LEXICON.tokenizer.to_str()
    Lessons(LEXICON, ())
    assert LEXICON.tokenizer.to_str() == before
