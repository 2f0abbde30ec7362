"""Recall on a development split, straight from the torch model: un-pruned vectors, cosine, brute force.

The figure to select on while training. What a user gets (top-k, integers, inverted index) is measured on the bundle
by `lexlip eval`.
"""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize

from lexlip_infer.evaluation.ranks import Recall, score_recall
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_training.captioned_images import CaptionedImage
from lexlip_training.model import LexLIP

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(
    model: LexLIP, tokenizer: Tokenizer, images: list[CaptionedImage], batch_size: int = 50
) -> tuple[Recall, Recall]:
    """Text-to-image and image-to-text recall.

    Args:
        model: left in the training mode it had.
        tokenizer: of the text tower; its truncation applies.
        images: photographs and captions.
        batch_size: rows at a time, of either kind.
    """
    training = model.training
    model.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pictures = _image_weights(model, images, batch_size)
        texts = _text_weights(model, tokenizer, [c for image in images for c in image.captions], batch_size)
    model.train(training)
    scores = (normalize(texts, dim=1) @ normalize(pictures, dim=1).T).numpy()
    return score_recall(scores, np.repeat(np.arange(len(images)), [len(image.captions) for image in images]))


def _image_weights(model: LexLIP, images: list[CaptionedImage], batch_size: int) -> Tensor:
    config = model.config.image
    assert config is not None
    preprocess = ImagePreprocessor(config.image_size, config.resize, config.mean, config.std)
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    return torch.cat(
        [
            model.image_weights(torch.stack([torch.from_numpy(preprocess(load_image(i.path))) for i in batch]))
            for batch in batches
        ]
    )


def _text_weights(model: LexLIP, tokenizer: Tokenizer, texts: list[str], batch_size: int) -> Tensor:
    tokenizer.enable_padding()
    encodings = [tokenizer.encode_batch(texts[s : s + batch_size]) for s in range(0, len(texts), batch_size)]
    tokenizer.no_padding()
    return torch.cat(
        [
            model.text_weights(torch.tensor([e.ids for e in batch]), torch.tensor([e.attention_mask for e in batch]))
            for batch in encodings
        ]
    )
