"""The vocabulary: term id to string and back. Word pieces stay as they are (`##ing`), as engines expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from lexlip_infer.errors import BundleError


def read_tokenizer(data: bytes) -> Tokenizer:
    """The tokenizer in the contents of a `tokenizer.json`.

    Raises:
        BundleError: the data are not a tokenizer.
    """
    try:
        return Tokenizer.from_buffer(data)
    except Exception as error:  # noqa: BLE001  (tokenizers raises bare Exception)
        raise BundleError(f"tokenizer.json: not a tokenizer ({error})") from None


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """V terms by id.

    Attributes:
        terms: the strings, position = id.
        ids: the way back.
    """

    terms: tuple[str, ...]
    ids: Mapping[str, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {term: i for i, term in enumerate(self.terms)})

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> Vocabulary:
        """The tokenizer's vocabulary, added tokens included.

        Raises:
            BundleError: ids are not 0 .. V-1, so that a column would have no name.
        """
        by_id = {i: term for term, i in tokenizer.get_vocab(with_added_tokens=True).items()}
        if sorted(by_id) != list(range(len(by_id))):
            raise BundleError(f"the tokenizer's {len(by_id)} terms do not have the ids 0 to {len(by_id) - 1}")
        return cls(tuple(by_id[i] for i in range(len(by_id))))

    def __len__(self) -> int:
        return len(self.terms)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} terms)"
