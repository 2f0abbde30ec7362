"""From texts to the token ids a backbone takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError
from lexlip_infer.vocabulary import read_tokenizer


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

    Raises:
        BundleError: the data are not a tokenizer.
    """

    def __init__(self, data: bytes, max_length: int, truncation_side: Literal["left", "right"] = "right") -> None:
        self.tokenizer = read_tokenizer(data)
        self.max_length = max_length
        self.tokenizer.enable_truncation(max_length, direction=truncation_side)
        self.tokenizer.enable_padding()

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
        encodings = self.tokenizer.encode_batch([prompt + _checked(text) for text in texts])
        shape = (len(encodings), len(encodings[0].ids) if encodings else 0)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        cut = np.array([bool(encoding.overflowing) for encoding in encodings], np.bool_)
        return Tokens(ids.reshape(shape), mask.reshape(shape), cut)


def check_token_ids(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], max_length: int, vocab_size: int) -> None:
    """Refuse what no tokenizer of a model gives.

    Raises:
        InputError: the arrays do not fit each other, the vocabulary or the model's length.
    """
    if ids.ndim != 2 or ids.shape != mask.shape or {ids.dtype, mask.dtype} != {np.dtype(np.int64)}:
        given = " and ".join(f"{array.shape} {array.dtype}" for array in (ids, mask))
        raise InputError(f"token ids and mask are {given}; expected twice (B, L) int64")
    if ids.shape[1] > max_length or not ((ids >= 0) & (ids < vocab_size)).all():
        raise InputError(f"expected at most {max_length} token ids a text, each in [0, {vocab_size})")


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"a text must be a str, not {type(text).__name__}")
    # Undecodable bytes from a file name or terminal: the tokenizer takes valid Unicode only.
    return text.encode("utf-8", "replace").decode("utf-8")
