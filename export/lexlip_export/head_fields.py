"""What a model's heads compute beyond LexLIP's, on its way into the graphs and the manifest of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Modality, TextSettings
from lexlip_infer.manifest import TERM_TOKENS
from lexlip_kernels.head_rule import HeadRule


@dataclass(frozen=True, slots=True)
class HeadFields:
    """Of both heads; those of texts that are no matter of the vocabulary stand in `TextSettings`.

    Attributes:
        image: fields of `ImageSettings`: saturation and norm.
        term_tokens: the token of each term, ascending; None where every token is a term.
        token_count: tokens that there are, where some are no terms.
    """

    image: Mapping[str, Any] = field(default_factory=dict)
    term_tokens: tuple[int, ...] | None = None
    token_count: int = 0

    def needed(self) -> set[str]:
        """Fields that make a manifest younger than format 2."""
        return {*self.image, *(() if self.term_tokens is None else ("saturation",))}

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
        if modality == "image":
            return {"rule": _rule(self.image.get("saturation"), self.image.get("normalise"))}
        assert text is not None
        options = {"rule": _rule(text.saturation, text.normalise), "admit_padding": text.admit_padding}
        return options | (
            {"token_terms": self._token_terms(suppressed_ids, vocab_size)} if text.keep_own_tokens else {}
        )

    def _token_terms(self, suppressed_ids: tuple[int, ...], vocab_size: int) -> npt.NDArray[np.int64]:
        tokens = range(vocab_size) if self.term_tokens is None else self.term_tokens
        terms = np.full(self.token_count or vocab_size, -1, np.int64)
        terms[np.asarray(tokens, np.int64)] = np.arange(vocab_size)
        terms[np.isin(terms, suppressed_ids)] = -1
        return terms


def _rule(saturation: str | None, normalise: str | None) -> HeadRule:
    return HeadRule("elu1p" if saturation == "elu1p" else "log1p_relu", normalise == "full_vocabulary")
