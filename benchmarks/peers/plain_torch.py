"""torch, float32. Variants: eager, and compile (torch.compile, a graph for each batch size)."""

from __future__ import annotations

from typing import Any

import torch
from contract import Job, Peer, answer, inputs_of
from torch_model import ranking_of

from lexlip_infer.vectors.sparse_batch import SparseBatch


def open_peer(job: Job) -> Peer:
    """Load, and compile if asked to; the first batch then takes its time."""
    model, inputs = ranking_of(job), inputs_of(job)
    ranked = torch.compile(model, dynamic=False) if job.variant == "compile" else model

    @torch.inference_mode()
    def encode(batch: Any) -> SparseBatch:
        ids, weights = ranked({name: torch.from_numpy(array) for name, array in inputs(batch).items()})
        return SparseBatch.from_ranked(ids.numpy(), weights.numpy(), job.bundle.manifest.vocab_size)

    return Peer(f"torch {torch.__version__} {job.variant}", "equal", encode)


if __name__ == "__main__":
    answer(open_peer)
