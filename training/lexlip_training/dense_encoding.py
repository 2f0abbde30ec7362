"""Images and texts to the vectors of a dense model, a batch at a time; what cannot be read is listed, not skipped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from tokenizers import Tokenizer

from lexlip_infer.collection.part_file import Failure
from lexlip_infer.inputs.items import BadItem, ImageItem, Reader, TextItem
from lexlip_infer.inputs.preprocessing import ImagePreprocessor, decode_images
from lexlip_infer.inputs.texts import TextTokenizer
from lexlip_kernels.errors import ImageError
from lexlip_training.dense_model import DenseModel
from lexlip_training.vector_folder import VectorFolder

__all__ = ["encode_image_vectors", "encode_text_vectors"]

Item = TypeVar("Item", bound=ImageItem | TextItem)


@torch.inference_mode()
def encode_image_vectors(
    model: DenseModel, reader: Reader[ImageItem], output: VectorFolder, batch_size: int, workers: int
) -> None:
    """Write a unit vector for every image that can be decoded.

    Args:
        model: in evaluation mode, on the device to compute on.
        reader: of images.
        output: takes vectors and failures.
        batch_size: images at a time.
        workers: decoding threads.
    """
    config = model.config.towers.image
    assert config is not None, "a dense model has both towers"
    preprocess = ImagePreprocessor(config.image_size, config.resize, config.mean, config.std)
    for items in _batches(reader, output, batch_size):
        ids, pixels = [], []
        decoded = decode_images((item.source for item in items), preprocess, workers, ahead=2 * workers)
        for item, image in zip(items, decoded, strict=True):
            if isinstance(image, ImageError):
                output.fail(Failure(item.id, item.origin, "decode", str(image)).line())
            else:
                ids.append(item.id)
                pixels.append(image)
        if ids:
            output.append(ids, model.image_vectors(torch.from_numpy(np.stack(pixels)).to(_device(model))).cpu().numpy())


@torch.inference_mode()
def encode_text_vectors(
    model: DenseModel, tokenizer: Tokenizer, reader: Reader[TextItem], output: VectorFolder, batch_size: int
) -> None:
    """Write a unit vector for every text.

    Args:
        model: in evaluation mode, on the device to compute on.
        tokenizer: of its text tower.
        reader: of texts.
        output: takes vectors and failures.
        batch_size: texts at a time.
    """
    config = model.config.towers.text
    assert config is not None, "a dense model has both towers"
    tokenize = TextTokenizer(tokenizer.to_str().encode(), config.max_length)
    for items in _batches(reader, output, batch_size):
        input_ids, mask = (torch.from_numpy(array).to(_device(model)) for array in tokenize([i.text for i in items]))
        output.append([item.id for item in items], model.text_vectors(input_ids, mask).cpu().numpy())


def _batches(reader: Reader[Item], output: VectorFolder, batch_size: int) -> Iterator[list[Item]]:
    """What can be worked on; the rest is listed."""
    good = _good(reader, output)
    while items := list(islice(good, batch_size)):
        yield items


def _good(reader: Reader[Item], output: VectorFolder) -> Iterator[Item]:
    for item in reader:
        if isinstance(item, BadItem):
            output.fail(Failure(item.id, item.origin, "read", item.error).line())
        elif len(item.id.splitlines()) != 1:
            error = "the id is empty or holds a line break, so that ids.txt cannot hold it"
            output.fail(Failure(item.id, item.origin, "read", error).line())
        else:
            yield item


def _device(model: DenseModel) -> torch.device:
    return next(model.parameters()).device
