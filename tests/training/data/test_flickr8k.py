"""Real photographs and captions, with BERT's vocabulary."""

from __future__ import annotations

from pathlib import Path

from lexlip_training import preset
from lexlip_training.data import DataConfig, open_pairs
from lexlip_training.data.batch import IGNORED
from lexlip_training.wordpiece import read_tokenizer_file


def test_flickr8k(data: Path) -> None:
    source = [str(data / "flickr8k")]
    config = DataConfig.model_validate({"train": source, "dev": source, "augmentation": "official_randaugment"})
    tokenizer, image = read_tokenizer_file(data / "bert-base-uncased"), preset("lexlip-base").image
    assert image is not None
    training = open_pairs(config, "train", tokenizer, image, 0, (0.3, 0.5))
    assert (len(training), training.table.images) == (30000, 6000)
    assert len(open_pairs(config, "dev", tokenizer, image, 0, None)) == 5000
    batch = training.collate([training[number] for number in range(0, 30000, 250)])
    assert batch.pixels.shape == (120, 3, 224, 224)
    assert batch.encoder_masked is not None
    assert batch.decoder_masked is not None
    real = int(batch.attention_mask.sum()) - 2 * len(batch.pixels)
    # About 1,500 tokens at 12/38 and 20/38: six standard deviations are .075.
    assert abs(int((batch.encoder_masked.labels != IGNORED).sum()) / real - 12 / 38) < 0.075
    assert abs(int((batch.decoder_masked.labels != IGNORED).sum()) / real - 20 / 38) < 0.075
