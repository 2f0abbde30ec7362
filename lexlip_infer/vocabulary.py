"""The vocabulary: term id to string and back. Word pieces stay as they are (`##ing`), as engines expect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lexlip_infer.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer

__all__ = ["Vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """V terms by id.

    Attributes:
        terms: the strings, position = id.
        ids: the way back.
    """

    terms: tuple[str, ...]
    ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

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
