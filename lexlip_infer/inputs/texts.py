"""From texts to the token ids a backbone takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from lexlip_infer.errors import BundleError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TextTokenizer", "read_tokenizer"]


def read_tokenizer(data: bytes) -> Tokenizer:
    """The tokenizer in the contents of a `tokenizer.json`.

    Raises:
        BundleError: the data are not a tokenizer.
    """
    try:
        return Tokenizer.from_buffer(data)
    except Exception as error:  # noqa: BLE001  (tokenizers raises bare Exception)
        raise BundleError(f"tokenizer.json: not a tokenizer ({error})") from None


class TextTokenizer:
    """A tokenizer with the bundle's truncation, padding to the longest text of a call.

    Args:
        data: contents of `tokenizer.json`.
        max_length: tokens kept, special ones included.

    Raises:
        BundleError: the data are not a tokenizer.
    """

    def __init__(self, data: bytes, max_length: int) -> None:
        self.tokenizer = read_tokenizer(data)
        self.tokenizer.enable_truncation(max_length)
        self.tokenizer.enable_padding()

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Token ids and attention mask, (B, L) each, padded with id 0 and mask 0; (0, 0) of no text.

        Raises:
            InputError: something in the list is not a str, or the list is a str itself.
        """
        if isinstance(texts, str):
            raise InputError("a single str was given; expected a list of texts: [text]")
        encodings = self.tokenizer.encode_batch([_checked(text) for text in texts])
        shape = (len(encodings), len(encodings[0].ids) if encodings else 0)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        return ids.reshape(shape), mask.reshape(shape)


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"a text must be a str, not {type(text).__name__}")
    # Undecodable bytes from a file name or terminal: the tokenizer takes valid Unicode only.
    return text.encode("utf-8", "replace").decode("utf-8")
