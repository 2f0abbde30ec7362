"""Whole-word masking as LexLIP's collator does it, drawn per sample.

round(rate * max_length) positions are drawn among all words of the *padded* caption, [CLS] and [SEP] aside; a word with
several pieces is hidden whole and passed over where it no longer fits. Drawn paddings are dropped, and so are unknown
words. Of max_length 40, 38 positions can be drawn, so that a real token is hidden at a rate of about 12/38 for 0.3 and
20/38 for 0.5, whatever the caption's length, and a short caption may have nothing hidden.

Of the hidden tokens 80 % become [MASK], 10 % a random term, 10 % stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from lexlip_kernels.errors import InputError
from lexlip_training.data.batch import IGNORED

Ids = npt.NDArray[np.int64]
_MASKED, _REPLACED = 0.8, 0.9


@dataclass(frozen=True, slots=True)
class Masked:
    """One masking of a text: `input_ids` (L,) and `labels` (L,), `IGNORED` where nothing is hidden."""

    input_ids: Ids
    labels: Ids


class WholeWordMasker:
    """Draws the two maskings of a text.

    Args:
        tokenizer: BERT's kind, `##` continues a word.
        max_length: length that captions are padded to in the draw.
        rates: of the encoder and the decoder.
        inclusive: hide from the decoder what is hidden from the encoder, and more.
        at_least_one: hide one word where the draw hit none.

    Raises:
        InputError: the tokenizer lacks a special token, or a rate is not between 0 and 1.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        rates: tuple[float, float],
        inclusive: bool = False,
        at_least_one: bool = False,
    ) -> None:
        if not all(0 <= rate <= 1 for rate in rates):
            raise InputError(f"masking rates {rates}; expected parts of 1")
        vocabulary = tokenizer.get_vocab()
        missing = [token for token in ("[CLS]", "[SEP]", "[UNK]", "[MASK]") if token not in vocabulary]
        if missing:
            raise InputError(f"masked training needs a tokenizer with {', '.join(missing)}; give BERT's vocabulary")
        self._terms = max(vocabulary.values()) + 1
        self._continues = np.zeros(self._terms, bool)
        self._continues[[number for piece, number in vocabulary.items() if piece.startswith("##")]] = True
        self._mask, self._unknown = vocabulary["[MASK]"], vocabulary["[UNK]"]
        self._edges = (vocabulary["[CLS]"], vocabulary["[SEP]"])
        self._length, self._rates = max_length, rates
        self._inclusive, self._at_least_one = inclusive, at_least_one

    def __call__(self, input_ids: Ids, generator: np.random.Generator) -> tuple[Masked, Masked]:
        """The encoder's and the decoder's masking of token ids (L,)."""
        words = self._words(input_ids)
        words += [[position] for position in range(len(input_ids), self._length)]
        first = self._draw(words, list(generator.permutation(len(words))), self._rates[0])
        order = list(generator.permutation(len(words)))
        if self._inclusive:
            order = first + [word for word in order if word not in set(first)]
        second = self._draw(words, order, self._rates[1])
        encoder, decoder = self._hidden(input_ids, words, first), self._hidden(input_ids, words, second)
        return self._masked(input_ids, encoder, generator), self._masked(input_ids, decoder, generator)

    def _words(self, input_ids: Ids) -> list[list[int]]:
        """Positions of each word."""
        words: list[list[int]] = []
        for position, token in enumerate(input_ids.tolist()):
            if token in self._edges:
                continue
            if words and self._continues[token]:
                words[-1].append(position)
            else:
                words.append([position])
        return words

    def _draw(self, words: list[list[int]], order: list[int], rate: float) -> list[int]:
        """Words in the order of a draw, as many as make up the rate."""
        left = max(1, round(self._length * rate)) if rate else 0
        chosen = []
        for word in order:
            if len(words[word]) <= left:
                chosen.append(word)
                left -= len(words[word])
        return chosen

    def _hidden(self, input_ids: Ids, words: list[list[int]], chosen: list[int]) -> list[int]:
        """Positions to hide: of real, known tokens; if need be, of the first word that has one."""
        real = [
            [place for place in word if place < len(input_ids) and input_ids[place] != self._unknown] for word in words
        ]
        hidden = [place for word in chosen for place in real[word]]
        if hidden or not self._at_least_one or not any(real):
            return hidden
        return next(word for word in real if word)

    def _masked(self, input_ids: Ids, hidden: list[int], generator: np.random.Generator) -> Masked:
        masked, labels = input_ids.copy(), np.full_like(input_ids, IGNORED)
        places = np.array(sorted(hidden), np.int64)
        fate, terms = generator.random(len(places)), generator.integers(self._terms, size=len(places))
        labels[places] = input_ids[places]
        masked[places[fate < _MASKED]] = self._mask
        replaced = (fate >= _MASKED) & (fate < _REPLACED)
        masked[places[replaced]] = terms[replaced]
        return Masked(masked, labels)
