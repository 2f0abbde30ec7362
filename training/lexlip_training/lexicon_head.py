"""The lexicon-weighting head: BERT's masked-language-model head, pooled by `lexlip_kernels.lexicon_pool`.

Split where the engine splits it: `transform` (dense, GELU, LayerNorm) belongs to the exported backbone, the decoder
(V, H) and its bias to the fused kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SUPPRESSED_BIAS", "LexiconHead"]

#: Bias of a suppressed term: far below any logit, yet finite in half precision.
SUPPRESSED_BIAS = -1e4


class LexiconHead(nn.Module):
    """Transform and decoder of one modality.

    Args:
        hidden_size: H.
        vocab_size: V.
        layer_norm_eps: of the transform's LayerNorm.
        suppressed_ids: terms whose bias is held at `SUPPRESSED_BIAS`.
        tied_weight: (V, H) parameter to decode with, instead of an own one.
    """

    suppressed: Tensor

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        layer_norm_eps: float,
        suppressed_ids: tuple[int, ...] = (),
        tied_weight: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.weight = nn.Parameter(torch.empty(vocab_size, hidden_size)) if tied_weight is None else tied_weight
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        suppressed = torch.zeros(vocab_size, dtype=torch.bool)
        suppressed[list(suppressed_ids)] = True
        self.register_buffer("suppressed", suppressed, persistent=False)
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)
        if tied_weight is None:
            nn.init.normal_(self.weight, std=0.02)

    def transform(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L, H) to hidden states (B, L, H), ready for the decoder."""
        hidden: Tensor = self.norm(nn.functional.gelu(self.dense(tokens)))
        return hidden

    def decoder_bias(self) -> Tensor:
        """The bias (V,) as the engine uses it, suppressed terms included."""
        return self.bias.masked_fill(self.suppressed, SUPPRESSED_BIAS)
