"""Images with several captions each, as the recipe of lexlip-tiny reads them.

Its draws (crops, captions, words left out) come from the global generators of Python and torch, one after the other: a
sample's depend on those before. A missing or unreadable image is an error, never a substitute.
"""

from __future__ import annotations

import random

import torch
from timm.data import create_transform
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from lexlip_infer.inputs.images import load_image
from lexlip_training.config import ImageTowerConfig
from lexlip_training.data.batch import PairBatch, padded
from lexlip_training.data.config import DataConfig
from lexlip_training.data.reading import PairTable

#: Captions drawn of each image.
TEXTS_EACH = 2

_Group = tuple[Tensor, list[list[int]], int]


class CaptionGroups(Dataset[_Group]):
    """Augmented images with two of their captions, drawn at random.

    Decoded once and kept in memory (150 kB an image at 224 pixels), so that an epoch costs crops, not JPEGs.

    Args:
        config: crops, length of captions, words left out.
        table: training images and captions.
        tokenizer: of the text tower.
        image: of the model: preprocessing.

    Attributes:
        table: images and captions.
        input_ids: token ids of each image's captions.
        texts_alone: leave out pixels, which are then empty.
    """

    def __init__(self, config: DataConfig, table: PairTable, tokenizer: Tokenizer, image: ImageTowerConfig) -> None:
        self.table = table
        words = Tokenizer.from_str(tokenizer.to_str())
        words.no_padding()
        words.enable_truncation(config.max_length)
        texts = [[table.captions[row] for row in rows] for rows in table.captions_of()]
        self.input_ids = [[encoding.ids for encoding in words.encode_batch(captions)] for captions in texts]
        self.word_dropout = config.word_dropout
        self._pictures = [load_image(table.image_source(number)) for number in range(table.images)]
        self._augment = create_transform(
            image.image_size,
            is_training=True,
            scale=config.crop_scale,
            hflip=0.5,
            color_jitter=0.2,
            interpolation="bicubic",
            mean=image.mean,
            std=image.std,
        )
        self.texts_alone = False

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> _Group:
        captions = self.input_ids[index]
        captions = captions * (-(-TEXTS_EACH // len(captions)))  # a single one twice, its words left out anew
        chosen = [self._drop_words(ids) for ids in random.sample(captions, TEXTS_EACH)]
        pixels = torch.empty(0) if self.texts_alone else self._augment(self._pictures[index])
        return pixels, chosen, index

    def _drop_words(self, ids: list[int]) -> list[int]:
        """Leave out tokens at random, never the first and last, which mark the text."""
        return [ids[0], *(i for i in ids[1:-1] if random.random() >= self.word_dropout), ids[-1]]

    @staticmethod
    def collate(groups: list[_Group]) -> PairBatch:
        """A batch, captions padded to the longest, those of one image adjacent."""
        input_ids, mask = padded([ids for _, captions, _ in groups for ids in captions])
        rows = torch.tensor([index for _, _, index in groups])
        return PairBatch(
            pixels=torch.stack([pixels for pixels, _, _ in groups]),
            input_ids=input_ids,
            attention_mask=mask,
            image_ids=rows,
            sample_ids=rows,
        )
