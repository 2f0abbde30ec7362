"""The text encoder: BERT through transformers, without a pooler."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import BertConfig, BertModel

from lexlip_training.config import TextTowerConfig

__all__ = ["TextTower"]


class TextTower(nn.Module):
    """Token ids (B, L) and their mask to tokens (B, L, H).

    Args:
        config: layers and sizes.
        vocab_size: V.
        hidden_size: H.
        layer_norm_eps: of every LayerNorm.
    """

    def __init__(self, config: TextTowerConfig, vocab_size: int, hidden_size: int, layer_norm_eps: float) -> None:
        super().__init__()
        bert = BertConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=config.max_positions,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            layer_norm_eps=layer_norm_eps,
            pad_token_id=None,  # every row of the embedding table is trained and exported alike
        )
        bert._attn_implementation = "eager"  # noqa: SLF001  (transformers' only switch; plain operators, exact in ONNX)
        self.bert = BertModel(bert, add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens (B, L, H); padded positions hold values that nobody may read."""
        tokens: Tensor = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return tokens

    @property
    def word_embeddings(self) -> nn.Parameter:
        """The (V, H) table of input embeddings."""
        table = self.bert.embeddings.word_embeddings.weight
        assert isinstance(table, nn.Parameter)
        return table
