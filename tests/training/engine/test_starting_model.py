"""Where a fresh model of a lexicon starts: words where the encoder has them, classes where their words are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_lexicon import seeing_model, small_lexicon
from torch.nn.functional import normalize

from lexlip_kernels.errors import InputError
from lexlip_training import LexLIP
from lexlip_training.engine import starting_model as module
from lexlip_training.engine.settings import ModelSettings
from lexlip_training.engine.starting_model import CLASS_NORM, WORD_NORM, start_from_words, starting_model


def test_words_keep_their_neighbours() -> None:
    lexicon = small_lexicon()
    flat = lexicon.embeddings.copy()
    flat[:, 32:] = 0.5  # nothing but 32 axes, which the model's width holds
    model = seeing_model(lexicon)
    start_from_words(model, replace(lexicon, embeddings=flat))
    words = model.text_tower.word_embeddings.detach()
    assert float(words.norm(dim=1).mean()) == pytest.approx(WORD_NORM, rel=1e-5)
    centred = torch.from_numpy(flat - flat.mean(axis=0))
    torch.testing.assert_close(
        normalize(words) @ normalize(words).T, normalize(centred) @ normalize(centred).T, rtol=1e-3, atol=1e-4
    )
    assert model.image_head.weight is model.text_tower.word_embeddings


def test_a_class_lies_among_its_words() -> None:
    lexicon, model = small_lexicon(), seeing_model(small_lexicon())
    start_from_words(model, lexicon)
    classes, words = model.image_tower.class_tokens.embedding, model.text_tower.word_embeddings
    torch.testing.assert_close(classes.norm(dim=1), torch.full((5,), CLASS_NORM))
    dog, animal = (lexicon.tokenizer.token_to_id(word) for word in ("dog", "animal"))
    expected = normalize(words[dog] + 0.75 * words[animal], dim=0) * CLASS_NORM
    torch.testing.assert_close(classes[0], expected)


def test_an_encoder_that_is_too_narrow() -> None:
    lexicon = small_lexicon()
    narrow = replace(lexicon, embeddings=np.ascontiguousarray(lexicon.embeddings[:, :16]))
    with pytest.raises(InputError, match="words of 16 numbers for a hidden size of 32"):
        start_from_words(seeing_model(lexicon), narrow)


def test_a_fresh_model_takes_the_lexicons_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lexicon = small_lexicon()
    lexicon.save(tmp_path)
    small = seeing_model(lexicon).config.model_copy(update={"vocab_size": 7, "suppressed_ids": ()})
    monkeypatch.setattr(module, "preset", lambda _name: small)
    model, tokenizer, record = starting_model(ModelSettings(lexicon=tmp_path), captions=list)
    assert isinstance(model, LexLIP)
    assert tokenizer.get_vocab() == lexicon.tokenizer.get_vocab()
    assert model.config.vocab_size == tokenizer.get_vocab_size()
    assert tokenizer.token_to_id("##s") in model.config.suppressed_ids
    assert float(model.text_tower.word_embeddings.detach().norm(dim=1).mean()) == pytest.approx(WORD_NORM, rel=1e-5)
    assert record == {}
