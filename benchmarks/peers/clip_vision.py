"""transformers' CLIP image tower, ViT-B/16 with random weights: the dense encoder that one would take instead."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import transformers
from contract import Job, Peer, answer

from lexlip_training.torchvision_shim import declare_operators

WIDTH = 512


def open_peer(job: Job) -> Peer:
    """Of the images' own size."""
    declare_operators()
    torch.set_num_threads(job.threads)
    assert isinstance(job.inputs, np.ndarray), "images alone"
    config = transformers.CLIPVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=job.inputs.shape[-1],
        patch_size=16,
        projection_dim=WIDTH,
    )
    model = transformers.CLIPVisionModelWithProjection(config).eval()

    @torch.inference_mode()
    def encode(pixels: npt.NDArray[np.float32]) -> None:
        model(pixel_values=torch.from_numpy(pixels))

    name = f"transformers {transformers.__version__} CLIP ViT-B/16, torch"
    return Peer(name, f"another model: dense, {WIDTH}", encode)


if __name__ == "__main__":
    answer(open_peer)
