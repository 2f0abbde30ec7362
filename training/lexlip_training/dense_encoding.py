"""Images and texts to the vectors of a dense model, and the folder that holds them, in memory that does not grow.

`vectors.npy` and `ids.txt` are as Faiss and numpy read them. The folder appears whole or not at all; what cannot be
read is listed, not skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from lexlip_infer.collection.part_file import Failure
from lexlip_infer.files import new_folder
from lexlip_infer.inputs.items import BadItem, ImageItem, Reader, TextItem
from lexlip_infer.inputs.preprocessing import ImagePreprocessor, decode_images
from lexlip_infer.inputs.texts import TextTokenizer
from lexlip_kernels.errors import ImageError
from lexlip_training.dense_model import DenseModel

__all__ = ["VectorFolder", "encode_image_vectors", "encode_text_vectors", "new_vector_folder"]


class VectorFolder:
    """Takes vectors and their ids, row by row.

    Args:
        vectors: file for `vectors.npy`, empty.
        ids: file for `ids.txt`, empty.
        failures: file for `failures.jsonl`, empty.
        dimensions: D.
    """

    def __init__(self, vectors: BinaryIO, ids: BinaryIO, failures: BinaryIO, dimensions: int) -> None:
        self._vectors, self._ids, self._failures, self._dimensions = vectors, ids, failures, dimensions
        self.rows = self.failed = 0
        self._header()

    def _header(self) -> int:
        """Write the header for as many rows as there are; numpy leaves room in it for the number to grow."""
        self._vectors.seek(0)
        shape = (self.rows, self._dimensions)
        np.lib.format.write_array_header_1_0(self._vectors, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return self._vectors.tell()

    def append(self, ids: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
        """Add vectors (n, D) and their ids, which must hold no line break."""
        assert vectors.shape == (len(ids), self._dimensions)
        self._vectors.write(np.ascontiguousarray(vectors, "<f4").tobytes())
        self._ids.write("".join(f"{identifier}\n" for identifier in ids).encode())
        self.rows += len(ids)

    def fail(self, line: str) -> None:
        """List an input that has no vector, as one line of JSON."""
        self._failures.write(f"{line}\n".encode())
        self.failed += 1

    def finish(self) -> None:
        """Write the number of rows."""
        end = self._vectors.tell()
        start = self._header()
        assert end == start + 4 * self.rows * self._dimensions, "the header has not grown"


@contextmanager
def new_vector_folder(output: Path, dimensions: int) -> Iterator[VectorFolder]:
    """A folder that is there, complete, when the block has ended without an exception.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    with new_folder(output) as partial:
        files = [partial / name for name in ("vectors.npy", "ids.txt", "failures.jsonl")]
        with files[0].open("w+b") as vectors, files[1].open("wb") as ids, files[2].open("wb") as failures:
            folder = VectorFolder(vectors, ids, failures, dimensions)
            yield folder
            folder.finish()


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
            output.append(
                ids,
                model.image_vectors(torch.from_numpy(np.stack(pixels)).to(next(model.parameters()).device))
                .cpu()
                .numpy(),
            )


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
        input_ids, mask = (
            torch.from_numpy(array).to(next(model.parameters()).device) for array in tokenize([i.text for i in items])
        )
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
