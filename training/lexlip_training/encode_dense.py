"""`python -m lexlip_training.encode_dense`: vectors of the dense baselines, for Faiss."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.cli.shell import FAILURES_LISTED, application, counted, run_application
from lexlip_infer.errors import InputError, require

app = application("Encode images or texts with a dense checkpoint.")


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
    from lexlip_training.dense_encoding import encode_image_vectors, encode_text_vectors, new_vector_folder

    torch.set_num_threads(threads)
    where = _device(device)
    model, tokenizer, _ = load_dense_checkpoint(checkpoint)
    model = model.to(where)
    with new_vector_folder(output, model.config.towers.hidden_size) as folder:
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
