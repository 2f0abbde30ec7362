"""A checkpoint: the folder in which training hands weights to export.

config.json        ModelConfig, or DenseConfig for the dense baseline
model.safetensors  the state dict, tied tensors once
tokenizer.json     the text tower's tokenizer
training.json      how it was made: command, seed, versions, log, development figures
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from tokenizers import Tokenizer

from lexlip_kernels.errors import BundleError
from lexlip_training.config import ModelConfig
from lexlip_training.model import DenseConfig, DenseModel, LexLIP


def save_checkpoint(folder: Path, model: LexLIP | DenseModel, tokenizer: Tokenizer, training: dict[str, Any]) -> None:
    """Write a checkpoint, replacing the files of an earlier one.

    Args:
        folder: created if missing.
        model: its weights and configuration.
        tokenizer: the text tower's tokenizer.
        training: JSON-serialisable record of how the weights were made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(model.config.model_dump_json(indent=2) + "\n")
    save_model(model, str(folder / "model.safetensors"))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "training.json").write_text(json.dumps(training, indent=2) + "\n")


def load_any_checkpoint(folder: Path) -> tuple[LexLIP | DenseModel, Tokenizer, dict[str, Any]]:
    """Read a checkpoint: the model in evaluation mode, its tokenizer, its training record.

    Raises:
        BundleError: a file is missing or damaged, or weights and configuration do not match.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        model: LexLIP | DenseModel = (
            DenseModel(DenseConfig.model_validate(config))
            if config.get("representation") == "dense"
            else LexLIP(ModelConfig.model_validate(config))
        )
        load_model(model, str(folder / "model.safetensors"))
        training: dict[str, Any] = json.loads((folder / "training.json").read_text("utf-8"))
        return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json")), training
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: not a checkpoint, {error.filename} is missing") from None
    except Exception as error:  # noqa: BLE001  (pydantic, tokenizers and torch raise what they like)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"{folder}: damaged checkpoint ({reason})") from None


def load_checkpoint(folder: Path) -> tuple[LexLIP, Tokenizer, dict[str, Any]]:
    """The same for a checkpoint of LexLIP.

    Raises:
        BundleError: as above, or the model is dense.
    """
    model, tokenizer, training = load_any_checkpoint(folder)
    if isinstance(model, DenseModel):
        raise BundleError(f"{folder}: a dense model, which has no lexicon; expected a checkpoint of LexLIP")
    return model, tokenizer, training


def load_dense_checkpoint(folder: Path) -> tuple[DenseModel, Tokenizer, dict[str, Any]]:
    """The same for a checkpoint of a dense model.

    Raises:
        BundleError: as above, or the model is LexLIP.
    """
    model, tokenizer, training = load_any_checkpoint(folder)
    if isinstance(model, LexLIP):
        raise BundleError(f"{folder}: a lexicon model; expected a checkpoint of a dense one")
    return model, tokenizer, training
