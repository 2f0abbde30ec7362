"""An early warning when the representation goes wrong, long before recall shows it.

A lexicon collapses in two ways: almost no term stays active, or all inputs get the same vector. Or it stays dense,
which FLOPS on unit vectors cannot prevent; an index of it is large and slow.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["SparsityMonitor"]

#: Fewer active terms than this cannot tell a few thousand photographs apart.
FEW_TERMS = 4.0
#: Squared length of the mean unit vector; 1 where all vectors are the same.
ALIKE = 0.95
#: Share of the vocabulary that is still active once the warm-up is over.
DENSE = 0.5


class SparsityMonitor:
    """Gives each warning once.

    Args:
        vocab_size: V; None for a dense model, which has no terms.
        patience: optimiser steps before the first warning; a model starts dense, and alike.
    """

    def __init__(self, vocab_size: int | None, patience: int) -> None:
        self.vocab_size = vocab_size
        self.patience = patience
        self.given: set[str] = set()

    def check(self, step: int, figures: Mapping[str, float]) -> list[str]:
        """New warnings, from the objective's `terms_*` and `alike_*` figures."""
        if step < self.patience:
            return []
        found = [w for side in ("image", "text") for w in self._problems(side, figures)]
        new = [text for key, text in found if key not in self.given]
        self.given |= {key for key, _ in found}
        return new

    def _problems(self, side: str, figures: Mapping[str, float]) -> list[tuple[str, str]]:
        problems = []
        if figures.get(f"alike_{side}", 0.0) > ALIKE:
            alike = figures[f"alike_{side}"]
            problems.append((f"alike_{side}", f"all {side} vectors are alike (mean cosine {alike:.3f}): collapsed"))
        terms = figures.get(f"terms_{side}")
        if self.vocab_size is None or terms is None:
            return problems
        if terms < FEW_TERMS:
            problems.append(
                (f"few_{side}", f"{terms:.1f} active terms per {side}: collapsed; lower objective.flops_weight")
            )
        if terms > DENSE * self.vocab_size:
            text = f"{terms:.0f} of {self.vocab_size} terms active per {side}: it stays dense; "
            problems.append((f"dense_{side}", text + "set objective.flops_normalised=false or objective.joint_top_k"))
        return problems
