"""What the parity gate encodes, and what int8 is calibrated on: photographs of the user, else synthetic inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from lexlip_export.settings import GateSettings
from lexlip_infer.bundle import Modality
from lexlip_infer.datasets import CaptionedImages, read_captioned_images
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.images import ImageSource, load_image
from lexlip_infer.inputs.items import ImageItem
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_infer.inputs.readers import open_images
from lexlip_infer.inputs.texts import TextTokenizer
from lexlip_training.config import ImageTowerConfig, ModelConfig

#: Rows at a time: the reference holds the logits of every token.
_BATCH = {"image": 8, "text": 32}
#: Photographs that ranges of activations are measured on, spread evenly over those that there are.
_CALIBRATION = 256
_SYNTHETIC = {"image": 16, "text": 64}


class SyntheticInputs:
    """Smooth random images with noise, and random term ids of every length.

    Args:
        config: of the model; a tower that it lacks is not asked for.

    Attributes:
        description: what they are, for the report.
        data: who belongs to whom, where retrieval can be measured.
    """

    data: CaptionedImages | None = None

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self.description = "synthetic: {image} random images, {text} random texts".format(**_SYNTHETIC)

    def batches(self, modality: Modality) -> Iterator[dict[str, Tensor]]:
        """`pixel_values` (B, 3, S, S), or `input_ids` and `attention_mask` (B, L), by name."""
        generator = torch.Generator().manual_seed(0)
        for start in range(0, _SYNTHETIC[modality], _BATCH[modality]):
            rows = min(_BATCH[modality], _SYNTHETIC[modality] - start)
            yield self._pixels(generator, rows) if modality == "image" else self._texts(generator, rows)

    def _pixels(self, generator: torch.Generator, rows: int) -> dict[str, Tensor]:
        image = self._config.image
        assert image is not None
        coarse = torch.rand(rows, 3, 8, 8, generator=generator)
        size = (image.image_size, image.image_size)
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
        noise = 0.1 * torch.randn(rows, 3, *size, generator=generator)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (image.mean, image.std))
        return {"pixel_values": ((smooth + noise).clamp(0, 1) - mean) / std}

    def _texts(self, generator: torch.Generator, rows: int) -> dict[str, Tensor]:
        text = self._config.text
        assert text is not None
        length = text.max_length
        ids = torch.randint(0, self._config.vocab_size, (rows, length), generator=generator)
        lengths = torch.randint(3, length + 1, (rows, 1), generator=generator)
        mask = (torch.arange(length) < lengths).long()
        return {"input_ids": ids * mask, "attention_mask": mask}


class CaptionInputs:
    """Photographs and their captions, preprocessed as the encoder does.

    Args:
        file: `captions.jsonl`.
        split: rows of it to use.
        config: of the model.
        tokenizer: of its text tower.

    Raises:
        InputError: the file is missing or malformed, or holds no row of that split. While iterating: an image cannot
            be read.
    """

    data: CaptionedImages | None

    def __init__(self, file: Path, split: str, config: ModelConfig, tokenizer: Tokenizer | None) -> None:
        self.data = self._rows = read_captioned_images(file, split)
        self._config, self._tokenizer = config, tokenizer
        self.description = (
            f"{file.name}, split {split!r}: {len(self._rows.images)} images, {len(self._rows.captions)} captions"
        )

    def batches(self, modality: Modality) -> Iterator[dict[str, Tensor]]:
        """As of `SyntheticInputs`."""
        return self._image_batches() if modality == "image" else self._text_batches()

    def _image_batches(self) -> Iterator[dict[str, Tensor]]:
        assert self._config.image is not None
        return image_batches(self._rows.images, self._config.image)

    def _text_batches(self) -> Iterator[dict[str, Tensor]]:
        if self._tokenizer is None:
            raise InputError("gate captions are strings and the model has no tokenizer: give --tokenizer as well")
        text = self._config.text
        assert text is not None
        tokenize = TextTokenizer(self._tokenizer.to_str().encode(), text.max_length)
        for start in range(0, len(self._rows.captions), _BATCH["text"]):
            ids, mask = tokenize(self._rows.captions[start : start + _BATCH["text"]])
            yield {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


#: Batches of model inputs, the same ones every time they are asked for.
GateInputs: TypeAlias = SyntheticInputs | CaptionInputs


def gate_inputs(config: ModelConfig, tokenizer: Tokenizer | None, gate: GateSettings) -> GateInputs:
    """The captions that the settings name, else synthetic inputs.

    Raises:
        InputError: see `CaptionInputs`.
    """
    if gate.captions is None:
        return SyntheticInputs(config)
    return CaptionInputs(gate.captions, gate.split, config, tokenizer)


def image_batches(images: Sequence[ImageSource], config: ImageTowerConfig) -> Iterator[dict[str, Tensor]]:
    """`pixel_values` (B, 3, S, S) of images, preprocessed as the encoder does."""
    preprocess = ImagePreprocessor(config.image_size, config.resize, config.mean, config.std)
    for start in range(0, len(images), _BATCH["image"]):
        pixels = [preprocess(load_image(image)) for image in images[start : start + _BATCH["image"]]]
        yield {"pixel_values": torch.from_numpy(np.stack(pixels))}


def calibration_inputs(config: ModelConfig, gate: GateSettings) -> tuple[str, Iterator[dict[str, Tensor]]]:
    """What the ranges of activations are measured on: a description, and batches of `pixel_values` (B, 3, S, S).

    Args:
        config: of a model with an image tower.
        gate: names them: the calibration images, else those of the captions.

    Raises:
        InputError: it names none, or they cannot be read.
    """
    assert config.image is not None
    if gate.calibration == "synthetic":
        inputs = SyntheticInputs(config)
        return inputs.description, inputs.batches("image")
    if gate.calibration is not None:
        items = open_images([str(gate.calibration)])
        images: list[ImageSource] = [item.source for item in items if isinstance(item, ImageItem)]
        name = gate.calibration.name
    elif gate.captions is not None:
        images = [*read_captioned_images(gate.captions, gate.split).images]
        name = f"{gate.captions.name}, split {gate.split!r}"
    else:
        raise InputError(
            "int8 of a convolutional image backbone is calibrated on photographs, and none were given: "
            "give --calibration-images or --gate-captions"
        )
    count = min(_CALIBRATION, len(images))
    chosen = [images[i * len(images) // count] for i in range(count)]
    return f"{count} of {len(images)} images of {name}", image_batches(chosen, config.image)
