"""Shared distinct words, ties by id."""

from __future__ import annotations

import pytest

from lexlip_infer.bench.large_scale.engines import BagOfWordsEngine
from lexlip_infer.errors import InputError


def test_counts_shared_words_once() -> None:
    engine = BagOfWordsEngine(["z", "b", "a"], ["A dog, a DOG!", "The dog runs", "the cat runs"])
    found = engine.search(["dog dog a", "runs", "", "unknown", "the runs dog"], 10, 2)
    assert found.ids == [["z", "b"], ["a", "b"], [], [], ["b", "a", "z"]]
    assert [scores.tolist() for scores in found.scores] == [[2, 1], [1, 1], [], [], [3, 2, 1]]
    assert engine.search(["the"], 1).ids == [["a"]]
    assert engine.documents == 3
    assert engine.bytes_on_disk > 0


def test_refuses() -> None:
    with pytest.raises(InputError, match="1 ids and 0 texts"):
        BagOfWordsEngine(["a"], [])
    with pytest.raises(InputError, match="single str"):
        BagOfWordsEngine(["a"], ["b"]).search("b", 1)
