"""`lexlip-train lexicon`, from invented words to a folder, with a sentence encoder of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_wordnet import write_wordnet
from tokenizers import Tokenizer

from lexlip_kernels.errors import InputError
from lexlip_training.lexicon.build import STEP_UP, kind_words, lexicon, make_lexicon, sentence_vectors
from lexlip_training.lexicon.folder import Lexicon
from lexlip_training.lexicon.word_list import word_tokenizer
from lexlip_training.lexicon.wordnet import WordNet


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    return WordNet(write_wordnet(tmp_path_factory.mktemp("wordnet")))


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), **sizes)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_words_weigh_less_with_each_step_up(net: WordNet) -> None:
    tokenizer = word_tokenizer(["dog", "domestic", "animal", "entity", "ball", "soccer"])
    ids = tokenizer.get_vocab()
    said = {"domestic", "animal", "entity"}  # "ball" is its own name, said or not
    words = kind_words(net, ["n00000200", "n00000430", "n00000500"], tokenizer, said).toarray()
    expected = np.zeros((3, len(ids)), np.float32)
    for term, weight in {"dog": 1.0, "domestic": 0.6, "animal": STEP_UP}.items():
        expected[0, ids[term]] = weight
    expected[1, ids["ball"]], expected[1, ids["soccer"]] = 1.0, 0.6  # by its own name, not as its kind
    np.testing.assert_allclose(words, expected)  # the entity is too general, and of the news no word is known


def test_a_kind_that_nobody_names_is_left_out(net: WordNet) -> None:
    tokenizer = word_tokenizer(["dog", "domestic", "animal"])
    words = kind_words(net, ["n00000200"], tokenizer, {"dog"}).toarray()[0]
    ids = tokenizer.get_vocab()
    assert words[ids["dog"]] == 1
    assert words[ids["animal"]] == 0


def test_embeddings_do_not_depend_on_their_neighbours(encoder: Path) -> None:
    words = ["dog", "children", "a"]
    together = sentence_vectors(encoder, words)
    assert together.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(together[2], sentence_vectors(encoder, ["a"])[0], rtol=1e-4, atol=1e-6)


def test_a_lexicon_of_invented_words(net: WordNet, encoder: Path, tmp_path: Path) -> None:
    made = make_lexicon(["a dog", "two dogs", "a dog"], ["n00000210", "n00000430"], net, encoder)
    made.save(tmp_path)
    loaded = Lexicon.load(tmp_path)
    assert loaded.captions == ["a dog", "two dogs"]
    near = loaded.caption_vectors.astype(np.float32) @ sentence_vectors(encoder, ["two dogs"])[0]
    assert near[1] == pytest.approx(1, abs=2e-3)
    assert loaded.class_names == [["spotted hound", "dog"], ["soccer ball"]]
    named = [name for name, _ in loaded.meanings]
    assert {"dog", "pony", "glasses"} <= set(named)
    assert not {"oaf", "clown", "news"} & set(named)  # offensive in some sense; not to be seen
    assert set(loaded.record) == {"wordnet", "encoder", "wordfreq"}
    dog = loaded.tokenizer.token_to_id("dog")
    assert loaded.class_words[:, [dog]].toarray().ravel().tolist() == [1.0, 0.0]


def test_what_is_no_wordnet_of_imagenets_and_no_encoder(net: WordNet, encoder: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.jsonl"
    captions.write_text(json.dumps({"image": "a.jpg", "captions": ["a dog"], "split": "train"}) + "\n")
    with pytest.raises(InputError, match=r"has no meaning n01440764; expected the files of WordNet 3\.0"):
        lexicon(tmp_path / "lexicon", [captions], net.folder, encoder)
    assert not (tmp_path / "lexicon").exists()
    with pytest.raises(InputError, match=r"not a sentence encoder in Hugging Face's layout"):
        make_lexicon([], [], net, tmp_path)
