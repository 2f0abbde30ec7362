"""A lexicon of a few words, and a model in the shape of lexlip-tiny that can be trained with it."""

from __future__ import annotations

import re

import numpy as np
import scipy.sparse
import torch
from captions import CAPTIONS
from small_models import lookup_config

from lexlip_training import LexLIP, ModelConfig
from lexlip_training.lexicon.folder import Lexicon
from lexlip_training.lexicon.word_list import word_tokenizer

#: What classes are called, and what they are kinds of.
CLASSES = {"dog": "animal", "horse": "animal", "cat": "animal", "jacket": "clothes", "chair": "furniture"}


def small_lexicon() -> Lexicon:
    """The words of the captions and of five classes; embeddings of random numbers."""
    texts = " ".join([*CAPTIONS, *CLASSES, *CLASSES.values()]).lower()
    tokenizer = word_tokenizer(sorted(set(re.findall(r"[a-z]+", texts))))
    vocabulary = tokenizer.get_vocab()
    words = np.zeros((len(CLASSES), len(vocabulary)), np.float32)
    for row, (name, kind) in zip(words, CLASSES.items(), strict=True):
        row[vocabulary[name]], row[vocabulary[kind]] = 1.0, 0.75
    return Lexicon(
        tokenizer=tokenizer,
        embeddings=np.random.default_rng(0).normal(size=(len(vocabulary), 48)).astype(np.float32),
        class_words=scipy.sparse.csr_array(words),
        class_names=[[name, f"small {name}"] for name in CLASSES],
        meaning_words=scipy.sparse.csr_array(words),
        meanings=[(name, f"a kind of {kind}") for name, kind in CLASSES.items()],
        record={},
    )


def seeing_config(lexicon: Lexicon) -> ModelConfig:
    """`lookup_config` with tokens of classes."""
    config = lookup_config(lexicon.tokenizer)
    assert config.image is not None
    changes = {"classes": len(lexicon.class_names), "class_tokens": 2}
    return config.model_copy(update={"image": config.image.model_copy(update=changes)})


def seeing_model(lexicon: Lexicon) -> LexLIP:
    """With random weights."""
    torch.manual_seed(0)
    return LexLIP(seeing_config(lexicon))
