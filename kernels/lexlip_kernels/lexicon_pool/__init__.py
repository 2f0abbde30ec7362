"""lexicon_pool: hidden states to dense, differentiable term weights (B, V), the op that training uses.

    max_logits[v] = max over unmasked tokens l of (hidden[l] . weight[v]) + bias[v]
    weights[v]    = log1p(relu(max_logits[v]))

The bias does not depend on the token and log1p(relu(.)) is monotone, so both follow the maximum exactly (LexLIP,
sparse representation; the official code applies relu, then max, then log, with the same result).
"""

from lexlip_kernels.lexicon_pool.reference import lexicon_pool, max_logits, saturate

__all__ = ["lexicon_pool", "max_logits", "saturate"]
