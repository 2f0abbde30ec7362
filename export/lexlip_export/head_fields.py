"""What a model's heads compute beyond LexLIP's, on its way into the graphs and the manifest of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Modality, TextSettings
from lexlip_infer.manifest import TERM_TOKENS
from lexlip_kernels.head_rule import LEXLIP, HeadRule


@dataclass(frozen=True, slots=True)
class HeadFields:
    """Of both heads; what that of texts computes stands in `TextSettings`.

    Attributes:
        image: saturation and norm of the head of images.
        term_tokens: the token of each term, ascending; None where every token is a term.
        token_count: tokens that there are, where some are no terms.
    """

    image: HeadRule = LEXLIP
    term_tokens: tuple[int, ...] | None = None
    token_count: int = 0

    def needed(self) -> set[str]:
        """Fields that make a manifest younger than format 2."""
        return set() if self.image == LEXLIP and self.term_tokens is None else {"saturation"}

    def of_images(self) -> dict[str, str]:
        """Fields of `ImageSettings`."""
        return {"saturation": self.image.saturation, "normalise": "full_vocabulary" if self.image.normalise else "none"}

    def tokens(self) -> dict[str, Any] | None:
        """The manifest's field of that name."""
        return None if self.term_tokens is None else {"count": self.token_count, "of_terms": TERM_TOKENS}

    def term_of(self, token: int) -> int:
        """The term of a token; the first where it is none, since an empty vector never comes of such a model."""
        if self.term_tokens is None:
            return token
        return self.term_tokens.index(token) if token in self.term_tokens else 0

    def graph_options(
        self, modality: Modality, text: TextSettings | None, suppressed_ids: tuple[int, ...], vocab_size: int
    ) -> dict[str, Any]:
        """Arguments of `head_graph` that only models with further fields need."""
        options: dict[str, Any] = {"rule": self.rule(modality, text)}
        if modality == "image":
            return options
        assert text is not None
        options["admit_padding"] = text.admit_padding
        return options | (
            {"token_terms": self._token_terms(suppressed_ids, vocab_size)} if text.keep_own_tokens else {}
        )

    def rule(self, modality: Modality, text: TextSettings | None) -> HeadRule:
        """Saturation and norm of one head."""
        if modality == "image":
            return self.image
        assert text is not None
        return text.rule

    def _token_terms(self, suppressed_ids: tuple[int, ...], vocab_size: int) -> npt.NDArray[np.int64]:
        tokens = range(vocab_size) if self.term_tokens is None else self.term_tokens
        terms = np.full(self.token_count or vocab_size, -1, np.int64)
        terms[np.asarray(tokens, np.int64)] = np.arange(vocab_size)
        terms[np.isin(terms, suppressed_ids)] = -1
        return terms
