"""The bottleneck and its weakened decoder (LexLIP, Phase 1; after LexMAE).

A masked text is to be restored from what little is left of it and one vector that stands for the whole image or text.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from transformers import BertModel
from transformers.models.bert.modeling_bert import BertLayer

from lexlip_training.objectives.losses import at_least_float32

__all__ = ["BottleneckDecoder", "lexicon_bottleneck"]


def lexicon_bottleneck(logits: Tensor, word_embeddings: Tensor) -> Tensor:
    """The mean word embedding (B, H) under the term distribution that max-pooled logits (B, V) stand for.

    No gradient reaches the embeddings (V, H) from here: they would learn to make the task easy.
    """
    embeddings = word_embeddings.detach()
    return at_least_float32(logits).softmax(dim=1).to(embeddings.dtype) @ embeddings


class BottleneckDecoder(nn.Module):
    """A few BERT layers of their own, on the text tower's embeddings.

    Args:
        bert: the text tower's; gives the shape of the layers.
        layers: how many; few, so that the bottleneck has to carry the meaning.
    """

    def __init__(self, bert: BertModel, layers: int) -> None:
        super().__init__()
        config = deepcopy(bert.config)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(layers))  # type: ignore[no-untyped-call]
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, bert: BertModel, input_ids: Tensor, attention_mask: Tensor, bottleneck: Tensor | None) -> Tensor:
        """Tokens (B, L, H) of a masked text (B, L).

        Args:
            bert: whose embeddings, positions and norm included, the text goes through.
            input_ids: (B, L), masked.
            attention_mask: (B, L), 1 on real tokens.
            bottleneck: (B, H), takes the place of the first token as it is; None leaves that token.
        """
        hidden: Tensor = bert.embeddings(input_ids=input_ids)
        if bottleneck is not None:
            hidden = torch.cat([bottleneck.to(hidden.dtype).unsqueeze(1), hidden[:, 1:]], dim=1)
        padding = (attention_mask == 0)[:, None, None, :]
        mask = torch.zeros_like(padding, dtype=hidden.dtype).masked_fill(padding, torch.finfo(hidden.dtype).min)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden
