"""What the manifest says of a head, as the heads take it: the rule of weights, what padding does, and own terms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle, Modality
from lexlip_kernels.head_rule import HeadRule


class HeadContract(NamedTuple):
    """Of one tower.

    Attributes:
        rule: saturation and norm.
        admit_padding: the maximum runs over padded tokens as well.
        token_terms: (T,), the term of each token, -1 where it is none or suppressed; None where a text's own terms are
            not kept.
    """

    rule: HeadRule
    admit_padding: bool
    token_terms: npt.NDArray[np.int64] | None

    @classmethod
    def of(cls, bundle: Bundle, modality: Modality) -> HeadContract:
        """Read it off a bundle that has this tower.

        Raises:
            BundleError: the file that says which tokens are terms is damaged.
        """
        manifest = bundle.manifest
        side = manifest.image if modality == "image" else manifest.text
        assert side is not None, "the bundle has the tower"
        text = manifest.text if modality == "text" else None
        if text is None or not text.keep_own_tokens:
            return cls(side.rule, text is not None and text.admit_padding, None)
        terms = bundle.token_terms()
        terms[np.isin(terms, manifest.suppressed_ids)] = -1
        return cls(side.rule, text.admit_padding, terms)

    def taking_part(self, mask: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
        """The mask of the maximum."""
        return None if self.admit_padding else mask

    def own(
        self, mask: npt.NDArray[np.int64] | None, input_ids: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.int64] | None:
        """Terms (B, L) that stand in the texts, -1 elsewhere; None where they are not kept."""
        if self.token_terms is None:
            return None
        assert mask is not None, "texts have one"
        assert input_ids is not None, "the tower gives them"
        return np.where(mask != 0, self.token_terms[input_ids], -1)
