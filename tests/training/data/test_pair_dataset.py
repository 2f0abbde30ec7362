"""Pairs: the same sample whatever worker, rank or resumed run reads it; damaged images; batches."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_kernels.errors import ImageError, InputError
from lexlip_training import ModelConfig
from lexlip_training.data import DataConfig, GlobalBatchSampler, PairDataset, open_pairs
from lexlip_training.data.batch import IGNORED, PairBatch


@pytest.fixture
def folder(tmp_path: Path, captions: list[str]) -> Path:
    """Six images with two captions each, one of them for development."""
    generator = np.random.default_rng(0)
    rows = []
    for number, caption in enumerate(captions):
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / f"{number}.png")
        split = "dev" if number == 5 else "train"
        rows.append({"image": f"{number}.png", "captions": [caption, caption.upper() + " again"], "split": split})
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def opened(folder: Path, tokenizer: Tokenizer, model_config: ModelConfig) -> Any:
    assert model_config.image is not None

    def open_(split: str = "train", failures: Path | None = None, seed: int = 0, **options: Any) -> PairDataset:
        config = DataConfig.model_validate({"train": [str(folder)], "dev": [str(folder)], "max_length": 16, **options})
        return open_pairs(config, split, tokenizer, model_config.image, seed, (0.3, 0.5), failures)  # type: ignore[arg-type]

    return open_


def equal(first: PairBatch, second: PairBatch) -> bool:
    tensors = [
        (batch.pixels, batch.input_ids, batch.sample_ids, batch.encoder_masked.input_ids, batch.decoder_masked.labels)  # type: ignore[union-attr]
        for batch in (first, second)
    ]
    return all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))


def test_a_batch(opened: Any) -> None:
    dataset = opened()
    assert len(dataset) == 10
    batch = dataset.collate([dataset[i] for i in (0, 1, 9)])
    assert batch.pixels.shape == (3, 3, 64, 64)
    assert batch.image_ids.tolist() == [0, 0, 4]
    assert batch.sample_ids.tolist() == [0, 1, 9]
    assert batch.input_ids.shape == batch.attention_mask.shape == batch.encoder_masked.labels.shape
    assert ((batch.input_ids == 0) == (batch.attention_mask == 0)).all()
    hidden = batch.decoder_masked.labels != IGNORED
    assert (batch.decoder_masked.labels[hidden] == batch.input_ids[hidden]).all()
    assert not (hidden & (batch.attention_mask == 0)).any()


@pytest.mark.parametrize("augmentation", ["timm_randaugment", "official_randaugment", "crop_flip"])
def test_workers_ranks_and_resume_change_nothing(opened: Any, augmentation: str) -> None:
    dataset = opened(augmentation=augmentation)
    dataset.set_epoch(2)
    expected = {i: dataset.collate([dataset[i]]) for i in range(len(dataset))}
    seen = 0
    for rank, workers in ((0, 0), (1, 2)):
        sampler = GlobalBatchSampler(len(dataset), 2, rank, 2)
        sampler.set_position(2, 1)
        loader = DataLoader(
            opened(augmentation=augmentation), batch_sampler=sampler, num_workers=workers, collate_fn=dataset.collate
        )
        assert isinstance(loader.dataset, PairDataset)
        loader.dataset.set_epoch(2)
        for batch in loader:
            single = [expected[i] for i in batch.sample_ids.tolist()]
            assert torch.equal(batch.pixels, torch.cat([one.pixels for one in single]))
            for row, one in enumerate(single):
                length = one.input_ids.shape[1]
                assert torch.equal(batch.encoder_masked.labels[row, :length], one.encoder_masked.labels[0])  # type: ignore[union-attr]
            seen += len(single)
    assert seen == 4


def test_workers_that_outlive_an_epoch_see_the_next(opened: Any) -> None:
    dataset = opened()
    loader = DataLoader(dataset, batch_size=5, num_workers=1, persistent_workers=True, collate_fn=dataset.collate)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        found, _ = loader
        assert equal(found, dataset.collate([dataset[i] for i in range(5)]))


def test_epochs_and_seeds_differ(opened: Any) -> None:
    first, other = opened(), opened(seed=1)
    batches = [first.collate([first[i] for i in range(10)]), other.collate([other[i] for i in range(10)])]
    first.set_epoch(1)
    batches.append(first.collate([first[i] for i in range(10)]))
    assert not equal(batches[0], batches[1])
    assert not equal(batches[0], batches[2])
    copy = pickle.loads(pickle.dumps(opened()))
    assert equal(copy.collate([copy[i] for i in range(10)]), batches[0])


def test_a_sample_may_be_an_image(opened: Any) -> None:
    dataset = opened(rows="images", augmentation="none", keep_decoded=True)
    assert len(dataset) == 5
    texts = set()
    for epoch in range(8):
        dataset.set_epoch(epoch)
        texts.add(tuple(dataset[3].input_ids.tolist()))
    assert texts == {tuple(dataset.token_ids(6)), tuple(dataset.token_ids(7))}


def test_a_damaged_image_is_replaced_and_listed(opened: Any, folder: Path) -> None:
    (folder / "2.png").write_bytes(b"no image")
    failures = folder / "data_failures.jsonl"
    dataset, again = opened(failures=failures), opened(failures=failures)
    pair = dataset[4]
    assert pair.sample_id not in {4, 5}
    assert again[4].sample_id == pair.sample_id
    assert torch.equal(again[4].pixels, dataset[pair.sample_id].pixels)
    row = json.loads(failures.read_text().splitlines()[0])
    assert (row["epoch"], row["sample"], row["path"]) == (0, 4, str(folder / "2.png"))
    assert "2.png" in row["error"]
    with pytest.raises(ImageError, match=r"2\.png"):
        opened()[4]  # nowhere to list it


def test_training_ends_where_no_image_can_be_read(opened: Any, folder: Path) -> None:
    for image in folder.glob("*.png"):
        image.unlink()
    with pytest.raises(InputError, match="20 samples in a row have no readable image"):
        opened(failures=folder / "f.jsonl")[0]


def test_evaluation_never_substitutes(opened: Any, folder: Path) -> None:
    dataset = opened("dev", failures=folder / "f.jsonl")
    assert len(dataset) == 2
    assert isinstance(dataset, PairDataset)
    expected = ImagePreprocessor(64, "squash", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))(load_image(folder / "5.png"))
    assert np.array_equal(dataset.image_pixels(0).numpy(), expected)
    assert np.array_equal(dataset[1].pixels.numpy(), expected)
    (folder / "5.png").write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        dataset[0]
    with pytest.raises(ImageError, match="empty"):
        dataset.image_pixels(0)
    assert not (folder / "f.jsonl").exists()


def test_settings(opened: Any) -> None:
    assert DataConfig.model_validate({"train": ["a"]}).train[0].path == "a"
    for wrong in ({}, {"train": []}, {"train": ["a"], "unknown": 1}, {"train": ["a"], "crop_scale": [0.9, 0.1]}):
        with pytest.raises(ValidationError):
            DataConfig.model_validate(wrong)
    with pytest.raises(InputError, match="image_size is 96 in the data settings and 64 in the model"):
        opened(image_size=96)
    with pytest.raises(IndexError):
        opened()[10]
