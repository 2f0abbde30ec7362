"""What the objectives' tests and their helper processes train: a tiny model and random pairs, both double precision."""

from __future__ import annotations

import torch

from lexlip_training import ImageTowerConfig, ModelConfig, TextTowerConfig
from lexlip_training.data.batch import IGNORED, MaskedText, PairBatch

VOCAB, LENGTH, SIZE = 37, 7, 32


def tiny_config() -> ModelConfig:
    image = ImageTowerConfig(
        backbone="beit_base_patch16_224",
        backbone_options={"img_size": SIZE, "embed_dim": 16, "depth": 1, "num_heads": 2},
        image_size=SIZE,
        resize="squash",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    text = TextTowerConfig(layers=1, heads=2, intermediate_size=24, max_positions=8, max_length=LENGTH, dropout=0.0)
    return ModelConfig(name="tiny", vocab_size=VOCAB, hidden_size=16, image=image, text=text)


def pair_batch(rows: int, seed: int) -> PairBatch:
    """Random pairs; two neighbours show one image, and the numbers of masked tokens differ from row to row."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, LENGTH + 1, (rows,), generator=generator)
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).long()
    ids = torch.randint(5, VOCAB, (rows, LENGTH), generator=generator) * mask
    image_ids = torch.randint(0, 50, (rows,), generator=generator)
    image_ids[1] = image_ids[0]
    return PairBatch(
        torch.randn(rows, 3, SIZE, SIZE, generator=generator, dtype=torch.float64),
        ids,
        mask,
        image_ids,
        torch.arange(rows),
        *(_masked(ids, mask, rate, generator) for rate in (0.3, 0.5)),
    )


def part_of(batch: PairBatch, rank: int, world: int) -> PairBatch:
    """The slice of a global batch that one process gets."""
    rows = slice(rank * len(batch.pixels) // world, (rank + 1) * len(batch.pixels) // world)
    masked = [
        None if text is None else MaskedText(text.input_ids[rows], text.labels[rows])
        for text in (batch.encoder_masked, batch.decoder_masked)
    ]
    columns = (batch.pixels, batch.input_ids, batch.attention_mask, batch.image_ids, batch.sample_ids)
    return PairBatch(*(column[rows] for column in columns), *masked)


def _masked(ids: torch.Tensor, mask: torch.Tensor, rate: float, generator: torch.Generator) -> MaskedText:
    hidden = (torch.rand(ids.shape, generator=generator) < rate) & (mask == 1)
    hidden[0, 1] = True
    return MaskedText(ids.masked_fill(hidden, 4), ids.masked_fill(~hidden, IGNORED))
