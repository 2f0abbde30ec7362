"""A checkpoint for images of another size, without training: its tables of positions are interpolated.

Random crops show objects larger in training than they are when whole photographs are encoded; encoding at a larger
size makes up for it: "Fixing the train-test resolution discrepancy", Touvron et al., NeurIPS 2019 (arXiv 1906.06423).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.errors import InputError, require
from lexlip_infer.files import new_folder
from lexlip_training.record import provenance

__all__ = ["resize"]


def resize(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder to read")],
    output: Annotated[Path, typer.Argument(help="checkpoint folder to write; must not exist")],
    image_size: Annotated[int, typer.Option(min=32, help="in pixels")],
) -> None:
    """Make a checkpoint encode images of another size; the weights stay, positions are interpolated."""
    for module in ("torch", "timm", "transformers"):
        require(module, extra="train")
    from lexlip_training.checkpoint import load_checkpoint, save_checkpoint
    from lexlip_training.engine.position_tables import fit_position_tables
    from lexlip_training.engine.starting_model import image_size_changed
    from lexlip_training.model import LexLIP

    earlier, tokenizer, record = load_checkpoint(checkpoint)
    if earlier.config.image is None:
        raise InputError(f"{checkpoint}: encodes texts only, there is no image size to change")
    image = image_size_changed(earlier.config.image, image_size)
    with new_folder(output) as folder:
        model = LexLIP(earlier.config.model_copy(update={"image": image}))
        model.load_state_dict(fit_position_tables(earlier.state_dict(), model))
        sizes = {"image_size": image_size, "earlier_image_size": earlier.config.image.image_size}
        made = {key: value for key, value in provenance().items() if key != "notice"}
        save_checkpoint(folder, model, tokenizer, record | {"resized": [*record.get("resized", []), sizes | made]})
