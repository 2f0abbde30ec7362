"""The definition of lexicon_pool in plain torch: materialises (B, L, V), differentiates through autograd.

torch is imported for its types only; every operation is a tensor method, so this module loads without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def max_logits(hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None = None) -> Tensor:
    """Vocabulary logits, maximised over tokens, before saturation.

    Args:
        hidden: (B, L, H), tokens after the head's transform and LayerNorm.
        weight: (V, H), the decoder.
        bias: (V,), the decoder's bias.
        mask: (B, L), non-zero where a token takes part; all take part when absent. A true mask: masked tokens are
            left out of the maximum, whatever their logits.

    Returns:
        (B, V); -inf in a row without any unmasked token.
    """
    logits = hidden @ weight.T
    if mask is not None:
        logits = logits.masked_fill(mask.unsqueeze(-1) == 0, float("-inf"))
    return logits.amax(dim=1) + bias


def saturate(logits: Tensor) -> Tensor:
    """log1p(relu(logits)), in float32 at least: half precision loses the small weights."""
    return logits.float().relu().log1p() if logits.element_size() < 4 else logits.relu().log1p()


def lexicon_pool(hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None = None) -> Tensor:
    """Term weights (B, V) >= 0 of each row; arguments as in `max_logits`."""
    return saturate(max_logits(hidden, weight, bias, mask))
