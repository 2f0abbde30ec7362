"""From texts to the token ids a backbone takes.

Of a text of megabytes a few dozen tokens are kept, so the rest is left out before it is split into tokens, not after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.vocabulary import read_tokenizer, said_in_one_line

#: Characters of a text that are tokenised: this many, or as many for each token of a model of many. A token of ordinary
#: text has four or five characters.
CHARACTERS, CHARACTERS_A_TOKEN = 16_384, 64
#: Before the end of what is left, a space is looked for as far as this, so that no word is split.
_LONGEST_WORD = 256


class Tokens(NamedTuple):
    """Texts as a backbone takes them.

    Attributes:
        ids: (B, L), token ids, 0 on padding.
        mask: (B, L), 1 on tokens, 0 on padding.
        cut: (B,), whether a text had more tokens than the model takes, and lost those beyond.
    """

    ids: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]
    cut: npt.NDArray[np.bool_]


class TextTokenizer:
    """A tokenizer with the bundle's truncation, padding to the longest text of a call.

    Args:
        data: contents of `tokenizer.json`.
        max_length: tokens kept, special ones included.
        truncation_side: where the tokens beyond are left out.

    Attributes:
        characters: of a text that are tokenised; what a longer one has beyond them is left out on the same side.

    Raises:
        BundleError: the data are not a tokenizer, or one that leaves no room for a text.
    """

    def __init__(self, data: bytes, max_length: int, truncation_side: Literal["left", "right"] = "right") -> None:
        self.tokenizer = read_tokenizer(data)
        self.max_length = max_length
        self.characters = max(CHARACTERS, CHARACTERS_A_TOKEN * max_length)
        self._left = truncation_side == "left"
        if (special := self.tokenizer.num_special_tokens_to_add(False)) >= max_length:
            raise BundleError(f"tokenizer.json: adds {special} tokens to a text; the model takes {max_length} in all")
        self.tokenizer.enable_truncation(max_length, direction=truncation_side)
        self.tokenizer.no_padding()

    def __call__(self, texts: Sequence[str], prompt: str = "") -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Token ids and attention mask, (B, L) each, padded with id 0 and mask 0; (0, 0) of no text.

        Args:
            texts: to tokenise.
            prompt: put before each of them; it counts as a part of the text.

        Raises:
            InputError: something in the list is not a str, or the list is a str itself.
        """
        tokens = self.encode(texts, prompt)
        return tokens.ids, tokens.mask

    def encode(self, texts: Sequence[str], prompt: str = "") -> Tokens:
        """The same, and which of the texts were cut: a reader of the results should be told.

        Raises:
            InputError: as for a call.
        """
        if isinstance(texts, str):
            raise InputError("a single str was given; expected a list of texts: [text]")
        prompt = _checked(prompt)
        rows, cut = [], []
        for part in self._parts([prompt + _checked(text) for text in texts]):
            shortened = [self._shortened(text) for text in part]
            with said_in_one_line("fails on a text"):
                encodings = self.tokenizer.encode_batch([text for text, _ in shortened])
            rows += [encoding.ids for encoding in encodings]
            cut += [left_out or bool(e.overflowing) for e, (_, left_out) in zip(encodings, shortened, strict=True)]
        shape = (len(rows), max(map(len, rows), default=0))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        return Tokens(ids, mask, np.array(cut, np.bool_))

    def _parts(self, texts: list[str]) -> Iterator[list[str]]:
        """The texts again, as many together as have the characters of one: what a tokenizer makes takes much memory."""
        part: list[str] = []
        size = 0
        for text in texts:
            length = min(len(text), self.characters)
            if part and size + length > self.characters:
                yield part
                part, size = [], 0
            part.append(text)
            size += length
        if part:
            yield part

    def _shortened(self, text: str) -> tuple[str, bool]:
        """What is tokenised of a text, and whether more than white space was left out."""
        if len(text) <= self.characters:
            return text, False
        kept = text[-self.characters :] if self._left else text[: self.characters]
        end = kept[:_LONGEST_WORD] if self._left else kept[-_LONGEST_WORD:][::-1]
        for number, character in enumerate(end):
            if character.isspace():
                kept = kept[number:] if self._left else kept[: len(kept) - number]
                break
        left_out = text[: len(text) - len(kept)] if self._left else text[len(kept) :]
        return kept, not left_out.isspace()


def check_token_ids(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], max_length: int, token_count: int) -> None:
    """Refuse what no tokenizer of a model gives.

    Raises:
        InputError: the arrays do not fit each other, the vocabulary or the model's length.
    """
    if ids.ndim != 2 or ids.shape != mask.shape or {ids.dtype, mask.dtype} != {np.dtype(np.int64)}:
        given = " and ".join(f"{array.shape} {array.dtype}" for array in (ids, mask))
        raise InputError(f"token ids and mask are {given}; expected twice (B, L) int64")
    if ids.shape[1] > max_length or not ((ids >= 0) & (ids < token_count)).all():
        raise InputError(f"expected at most {max_length} token ids a text, each in [0, {token_count})")


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"a text must be a str, not {type(text).__name__}")
    # Undecodable bytes from a file name or terminal: the tokenizer takes valid Unicode only.
    return text.encode("utf-8", "replace").decode("utf-8")
