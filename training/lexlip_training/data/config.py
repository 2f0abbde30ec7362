"""Which pairs a run trains on and what is done to them, as validated settings. Unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from lexlip_training.config import Settings

Format = Literal["auto", "official_tsv", "karpathy_json", "captions_jsonl", "webdataset"]
Augmentation = Literal["timm_randaugment", "official_randaugment", "crop_flip", "none"]
Split = Literal["train", "dev"]


class SourceConfig(Settings):
    """One collection of pairs; a plain string stands for its path.

    Attributes:
        path: a file, a folder with `captions.jsonl`, or a pattern of shards such as "shards/{000..099}.tar".
        format: "auto" goes by the suffix: .tsv .csv, .json, .jsonl or a folder, .tar.
        images: folder that image paths start from; None: the folder of the file.
        splits: names of splits to keep, where the file holds several. None: "train" for training and "dev" for
            development; in Karpathy's files "train" and "restval", and "val".
    """

    path: str = Field(min_length=1)
    format: Format = "auto"
    images: Path | None = None
    splits: tuple[str, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: object) -> object:
        return {"path": str(value)} if isinstance(value, str | Path) else value


class DataConfig(Settings):
    """Data of a run.

    Attributes:
        train: collections of training pairs, one after the other.
        dev: collections of development pairs, on which a checkpoint is selected.
        image_size: pixels, height and width; None takes the model's, and no other is accepted.
        max_length: tokens a caption is cut to, [CLS] and [SEP] included.
        augmentation: of training images; "official_randaugment" is the published one with its quirks.
        rows: "captions": each caption is a sample; "images": each image is one, with a caption drawn anew every epoch.
        crop_scale: of "crop_flip": smallest and largest part of the picture's area that is kept.
        at_least_one_mask: mask a word of every text, also where the draw hit none (the official code leaves it).
        inclusive_decoder_mask: hide from the decoder what is hidden from the encoder, and more; officially independent.
        views: crops of each sample, walked through again after so many passes; None draws a new one every time.
        word_dropout: share of a caption's tokens left out at random; of objective "recipe" alone.
        workers: processes that decode and augment; 0 does it in the training process.
        keep_decoded: keep decoded training images in memory, 3 bytes a pixel, once in every worker.
    """

    train: tuple[SourceConfig, ...] = Field(min_length=1)
    dev: tuple[SourceConfig, ...] = ()
    image_size: int | None = Field(default=None, gt=0)
    max_length: int = Field(default=40, gt=2)
    augmentation: Augmentation = "timm_randaugment"
    rows: Literal["captions", "images"] = "captions"
    crop_scale: tuple[float, float] = (0.4, 1.0)
    at_least_one_mask: bool = False
    inclusive_decoder_mask: bool = False
    views: int | None = Field(default=None, gt=0)
    word_dropout: float = Field(default=0.0, ge=0, lt=1)
    workers: int = Field(default=0, ge=0)
    keep_decoded: bool = False

    @model_validator(mode="after")
    def _crop_is_a_range(self) -> DataConfig:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_scale is {low}, {high}; expected two parts of 1, the smaller first")
        return self
