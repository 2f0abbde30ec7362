"""What a lexicon teaches without pictures: classes that a classifier might have seen, and what nouns mean.

A training set shows few of a classifier's classes. Verdicts made up for all of them let the model say each class's
words, and those of its kinds, wherever the classifier is to see it. Wordings that say what a noun is do the same for
words that no caption holds.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from lexlip_training.lexicon.folder import Lexicon
from lexlip_training.objectives.recipe_losses import shares

#: Tokens that a name or a meaning is cut to, [CLS] and [SEP] included.
_LENGTH = 24

#: Between them lies what a made-up verdict leaves to its class.
_DOUBTFUL, _SURE = 0.3, 1.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step is told: n classes and n meanings.

    Attributes:
        classes: (n,) int64, no two the same.
        verdicts: (n, C) probabilities that a classifier might give, the most of them to `classes`.
        names: token ids of one name of each class.
        meanings: token ids of one wording of each meaning.
        meaning_words: (n, V) the words of each meaning and of what it is a kind of, each row a distribution.
    """

    classes: Tensor
    verdicts: Tensor
    names: list[list[int]]
    meanings: list[list[int]]
    meaning_words: Tensor


class Lessons(nn.Module):
    """Draws lessons from the global generators of Python and torch; holds nothing that is trained or saved.

    Args:
        lexicon: of C classes, M meanings and V terms.
        suppressed: terms that nothing may be called by.

    Attributes:
        class_words: (C, V) the words of each class and of what it is a kind of, each row a distribution.
    """

    class_words: Tensor
    _kept: Tensor
    _name_terms: Tensor

    def __init__(self, lexicon: Lexicon, suppressed: Sequence[int]) -> None:
        super().__init__()
        kept = torch.ones(lexicon.tokenizer.get_vocab_size())
        kept[list(suppressed)] = 0
        class_words = shares(torch.from_numpy(lexicon.class_words.toarray()) * kept)
        self._names = _wordings(lexicon.tokenizer, lexicon.class_names)
        wordings = [(name, gloss, f"{name}: {gloss}") for name, gloss in lexicon.meanings]
        self._meanings = _wordings(lexicon.tokenizer, wordings)
        self._meaning_words = lexicon.meaning_words
        self.register_buffer("class_words", class_words, persistent=False)
        self.register_buffer("_kept", kept, persistent=False)
        self.register_buffer("_name_terms", self._terms_of_names(kept), persistent=False)

    def _terms_of_names(self, kept: Tensor) -> Tensor:
        """(C, V) sparse, 1 for each term of the first name of a class."""
        terms = torch.zeros(len(self._names), len(kept))
        for row, names in zip(terms, self._names, strict=True):
            row[names[0]] = 1.0
        return (terms * kept).to_sparse()

    def draw(self, most: int) -> Lesson:
        """A lesson of so many classes and meanings, or of as many as there are."""
        count = min(most, len(self._names), len(self._meanings))
        classes = random.sample(range(len(self._names)), count)
        verdicts = self._made_up(classes)
        names = [random.choice(self._names[number]) for number in classes]
        rows = random.sample(range(len(self._meanings)), count)
        meanings = [random.choice(self._meanings[row]) for row in rows]
        words = torch.from_numpy(self._meaning_words[rows].toarray()).to(self._kept)
        numbers = torch.tensor(classes, device=self._kept.device)
        return Lesson(numbers, verdicts, names, meanings, shares(words * self._kept))

    def _made_up(self, classes: list[int]) -> Tensor:
        """Verdicts (n, C) for these classes.

        The rest is shared among classes that have words in common with them, as a real classifier's doubts are.
        """
        rows = torch.arange(len(classes))
        likeness = self.class_words[classes] @ self.class_words.T
        likeness[rows, classes] = 0
        doubts = likeness.pow(2) * torch.rand_like(likeness).pow(4)
        sure = likeness.new_empty(len(classes), 1, dtype=torch.float32).uniform_(_DOUBTFUL, _SURE)
        verdicts = (1 - sure) * shares(doubts)
        verdicts[rows, classes] += sure.squeeze(1)
        return shares(verdicts)

    def called(self, units: Tensor, weights: Tensor) -> Tensor:
        """Cosines (B, C) of unit vectors (B, V) with the names of all classes, as queries of such weights (V,)."""
        norms = (self._name_terms @ weights.square().unsqueeze(1)).clamp_min(1e-9).sqrt()
        return (self._name_terms @ (units * weights).T / norms).T


def _wordings(tokenizer: Tokenizer, texts: Iterable[Sequence[str]]) -> list[list[list[int]]]:
    """Token ids of each wording of each text."""
    own = Tokenizer.from_str(tokenizer.to_str())
    own.no_padding()
    own.enable_truncation(_LENGTH)
    return [[encoding.ids for encoding in own.encode_batch(list(wordings))] for wordings in texts]
