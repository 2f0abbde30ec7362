"""`python -m lexlip_training.encode_dense`: vectors of the dense baselines, for Faiss.

`vectors.npy` and `ids.txt` are as Faiss and numpy read them, written in memory that does not grow with them. The folder
appears whole or not at all; what cannot be read is listed, not skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import typer

from lexlip_infer.cli.shell import FAILURES_LISTED, application, counted, run_application
from lexlip_infer.collection.part_file import Failure
from lexlip_infer.errors import ImageError, InputError, require
from lexlip_infer.files import new_folder
from lexlip_infer.inputs.items import BadItem, ImageItem, Reader, TextItem
from lexlip_infer.inputs.preprocessing import ImagePreprocessor, decode_images
from lexlip_infer.inputs.texts import TextTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lexlip_training.model import DenseModel

app = application("Encode images or texts with a dense checkpoint.")


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
    import torch

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
    import torch

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


@app.command()
def encode_dense(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a dense model, as lexlip-train writes it")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="folder to make, for vectors.npy and ids.txt")],
    images: Annotated[
        list[str] | None, typer.Option(metavar="SRC", help="folder, pattern, .tar, .parquet, list of paths")
    ] = None,
    texts: Annotated[list[str] | None, typer.Option(metavar="FILE", help=".jsonl, .tsv, .csv, .txt, .parquet")] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="images or texts at a time")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="threads that decode, and that torch uses")] = 1,
) -> None:
    """Write OUT/vectors.npy, (N, D) float32 of length 1, and OUT/ids.txt, the id of each row.

    Inputs that cannot be encoded are listed in OUT/failures.jsonl; the exit status is then 3.
    """
    if bool(images) == bool(texts):
        raise InputError("give either --images SRC or --texts FILE")
    for module in ("torch", "timm", "transformers"):
        require(module, extra="train")
    import torch

    from lexlip_infer.inputs.readers import open_images, open_texts
    from lexlip_training.checkpoint import load_dense_checkpoint

    torch.set_num_threads(threads)
    where = _device(device)
    model, tokenizer, _ = load_dense_checkpoint(checkpoint)
    model = model.to(where)
    with torch.inference_mode(), new_vector_folder(output, model.config.towers.hidden_size) as folder:
        if images:
            encode_image_vectors(model, open_images(images), folder, batch_size, threads)
        elif texts:
            encode_text_vectors(model, tokenizer, open_texts(texts), folder, batch_size)
    print(f"{output}: {counted(folder.rows, 'vector')} of {model.config.towers.hidden_size} numbers", file=sys.stderr)
    if folder.failed:
        print(f"{counted(folder.failed, 'input')} failed: {output / 'failures.jsonl'}", file=sys.stderr)
        raise typer.Exit(FAILURES_LISTED)


def _device(name: str) -> str:
    """The device to compute on; one that is asked for and absent is an error."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not (name.split(":", maxsplit=1)[0] == "cuda" and torch.cuda.is_available()):
        raise InputError(
            f"device {name!r} is not to be had here; expected auto, cpu{', cuda' * torch.cuda.is_available()}"
        )
    try:
        torch.zeros(1, device=name)
    except RuntimeError as error:
        raise InputError(f"device {name!r}: {str(error).splitlines()[0]}") from None
    return name


def run() -> None:
    """Entry of `python -m`."""
    run_application(app, "python -m lexlip_training.encode_dense")


if __name__ == "__main__":
    run()
