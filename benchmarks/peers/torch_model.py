"""The checkpoint as plain torch runs it: every logit in memory, then the maximum over tokens."""

from __future__ import annotations

import torch
from contract import Job
from torch import Tensor, nn

from lexlip_training.checkpoint import load_checkpoint

__all__ = ["Ranking", "ranking_of"]


class Ranking(nn.Module):
    """A tower, its head and top-k.

    Args:
        job: whose checkpoint and modality.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.model, _, _ = load_checkpoint(job.checkpoint)
        self.modality = job.modality
        self.k = min(job.top_k, self.model.config.vocab_size)
        if job.modality == "text":  # training uses plain operators; this is transformers' own default, and faster
            self.model.text_tower.bert.set_attn_implementation("sdpa")
        head = self.model.image_head if job.modality == "image" else self.model.text_head
        for unused in {"image", "text"} - {job.modality}:  # half of the memory
            delattr(self.model, f"{unused}_tower")
        self.weight, self.bias = head.weight, nn.Parameter(head.decoder_bias())

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Model inputs to ids and weights (B, K), by rank."""
        hidden = self._hidden(inputs)
        logits = nn.functional.linear(hidden, self.weight, self.bias)
        if self.modality == "text":
            logits = logits.masked_fill(inputs["attention_mask"].unsqueeze(-1) == 0, -torch.inf)
        weights, ids = logits.amax(dim=1).relu().log1p().topk(self.k)
        return ids, weights

    def _hidden(self, inputs: dict[str, Tensor]) -> Tensor:
        if self.modality == "image":
            return self.model.image_hidden(inputs["pixel_values"])
        return self.model.text_hidden(inputs["input_ids"], inputs["attention_mask"])


def ranking_of(job: Job) -> Ranking:
    """In evaluation mode, on the job's threads."""
    torch.set_num_threads(job.threads)
    return Ranking(job).eval()
