"""Photographs with captions: a folder with `captions.jsonl` rows `{"image", "captions", "split"}`.

A missing or unreadable image is an error, never a substitute: training on silent replacements cannot be reproduced.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.data import create_transform
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from lexlip_infer.datasets import read_captioned_images
from lexlip_infer.inputs.images import load_image
from lexlip_training.config import ImageTowerConfig

__all__ = ["Batch", "CaptionedImage", "TrainingPairs", "read_captions"]


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One photograph and what people wrote about it."""

    path: Path
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """B images and n captions of each.

    Attributes:
        pixels: (B, 3, S, S), augmented and normalised; empty where the set yields texts alone.
        input_ids: (B*n, L), padded with 0.
        attention_mask: (B*n, L), 1 on real tokens.
        image_ids: (B,), rows of the training set.
    """

    pixels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    image_ids: Tensor


def read_captions(file: Path, split: str) -> list[CaptionedImage]:
    """Rows of one split, in file order; read, and refused, as `lexlip eval` does.

    Args:
        file: `captions.jsonl`; image paths are relative to its folder.
        split: the value of `split` to keep.

    Raises:
        InputError: the file is missing or malformed, or holds no row of that split.
    """
    data = read_captioned_images(file, split)
    return [
        CaptionedImage(path, tuple(data.captions[row] for row in rows))
        for path, rows in zip(data.images, data.captions_of(), strict=True)
    ]


class TrainingPairs(Dataset[tuple[Tensor, list[list[int]], int]]):
    """Augmented images with `texts_each` captions drawn at random.

    Decoded once and kept in memory (150 kB an image at 224 pixels), so that an epoch costs crops, not JPEGs.
    """

    def __init__(
        self,
        images: list[CaptionedImage],
        tokenizer: Tokenizer,
        config: ImageTowerConfig,
        max_length: int,
        texts_each: int = 2,
        word_dropout: float = 0.0,
        crop_scale: tuple[float, float] = (0.4, 1.0),
    ) -> None:
        tokenizer.enable_truncation(max_length)
        self.pictures = [load_image(image.path) for image in images]
        self.input_ids = [
            [encoding.ids for encoding in tokenizer.encode_batch(list(image.captions))] for image in images
        ]
        self.texts_each = texts_each
        self.word_dropout = word_dropout
        self.augment = create_transform(
            config.image_size,
            is_training=True,
            scale=crop_scale,
            hflip=0.5,
            color_jitter=0.2,
            interpolation="bicubic",
            mean=config.mean,
            std=config.std,
        )
        self.texts_alone = False

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, list[list[int]], int]:
        chosen = [self._drop_words(ids) for ids in random.sample(self.input_ids[index], self.texts_each)]
        pixels = torch.empty(0) if self.texts_alone else self.augment(self.pictures[index])
        return pixels, chosen, index

    def _drop_words(self, ids: list[int]) -> list[int]:
        """Leave out tokens at random, never the first and last, which mark the text."""
        return [ids[0], *(i for i in ids[1:-1] if random.random() >= self.word_dropout), ids[-1]]

    @staticmethod
    def collate(items: list[tuple[Tensor, list[list[int]], int]]) -> Batch:
        """Stack items, captions padded to the longest."""
        texts = [torch.tensor(ids) for _, captions, _ in items for ids in captions]
        input_ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
        lengths = torch.tensor([len(ids) for ids in texts])
        mask = (torch.arange(input_ids.shape[1])[None, :] < lengths[:, None]).long()
        pixels = torch.stack([pixels for pixels, _, _ in items])
        return Batch(pixels, input_ids, mask, torch.tensor([index for _, _, index in items]))
