"""A checkpoint: the folder in which training hands weights to export.

config.json        ModelConfig, or DenseConfig for the dense baseline
model.safetensors  the state dict, tied tensors once
tokenizer.json     the text tower's tokenizer
training.json      how it was made: command, seed, versions, log, development figures
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from tokenizers import Tokenizer

from lexlip_infer.files import Folder, first_fault, open_regular, read_json, write_synced
from lexlip_infer.files.reading import in_bytes
from lexlip_kernels.errors import BundleError, LexLIPError
from lexlip_training.config import ModelConfig
from lexlip_training.model import DenseConfig, DenseModel, LexLIP
from lexlip_training.wordpiece import read_tokenizer_file

WEIGHTS = "model.safetensors"

#: Bytes of what a model computes for itself when it is built and no file holds, such as BEiT's tables of offsets.
MOST_COMPUTED = 2**29
#: Types of safetensors that weights may be stored in.
_FLOATING = ("F64", "F32", "F16", "BF16")

Model = TypeVar("Model", LexLIP, DenseModel)


def save_checkpoint(path: Path, model: LexLIP | DenseModel, tokenizer: Tokenizer, training: dict[str, Any]) -> None:
    """Write a checkpoint, replacing the files of an earlier one.

    Args:
        path: of the folder, created if missing.
        model: its weights and configuration.
        tokenizer: the text tower's tokenizer.
        training: JSON-serialisable record of how the weights were made.

    Raises:
        OutputError: a link stands in the place of a file.
    """
    with Folder.open(path, create=True) as folder:
        write_synced("config.json", model.config.model_dump_json(indent=2).encode() + b"\n", folder)
        folder.remove(WEIGHTS)
        save_model(model, str(path / WEIGHTS))
        write_synced("tokenizer.json", tokenizer.to_str(pretty=True).encode(), folder)
        write_synced("training.json", json.dumps(training, indent=2).encode() + b"\n", folder)


class StoredShape(NamedTuple):
    """Of a tensor in a file.

    Attributes:
        shape: sizes.
        is_floating: whether its numbers are.
    """

    shape: tuple[int, ...]
    is_floating: bool = True


def stored_shapes(path: Path) -> dict[str, StoredShape]:
    """Of the tensors of a safetensors file, by name; reads none of them.

    Raises:
        BundleError: it is damaged, no regular file, or holds numbers of a type that weights are not stored in.
        OSError: it cannot be read.
    """
    shapes = {}
    open_regular(path, refuse=lambda reason: BundleError(f"{path}: {reason}")).close()
    try:
        with safe_open(str(path), "pt") as file:
            for name in file.keys():  # noqa: SIM118  (it is no dictionary)
                part = file.get_slice(name)
                kind = str(part.get_dtype())
                if kind not in (*_FLOATING, "I64", "I32", "BOOL"):
                    raise BundleError(f"{path}: {name} is of type {kind}; expected one of {', '.join(_FLOATING)}")
                shapes[name] = StoredShape(tuple(part.get_shape()), kind in _FLOATING)
    except SafetensorError as error:
        raise BundleError(f"{path}: damaged ({error}); copy it again") from None
    return shapes


def build(make: Callable[[], Model], stored: Mapping[str, StoredShape], what: str, whole: bool = True) -> Model:
    """A model whose tensors are those of a file, which is known before any of them takes memory.

    Args:
        make: makes it, from a configuration that may be a stranger's.
        stored: what the file has.
        what: the file, for messages.
        whole: whether the file must have all of them; tied ones count as one.

    Raises:
        BundleError: a tensor of the model is not in the file, or one of another shape, or what the model computes for
            itself takes more than `MOST_COMPUTED` bytes.
    """
    try:
        with torch.device("meta"):  # shapes without numbers
            sketch = make()
    except LexLIPError:
        raise
    except Exception as error:  # noqa: BLE001  (timm raises what it likes)
        raise BundleError(f"{what}: no model of this configuration can be built ({reason(error)})") from None
    tensors = {**dict(sketch.named_parameters(remove_duplicate=False)), **dict(sketch.named_buffers())}
    kept = sketch.state_dict().keys()
    there = {id(tensors[name]) for name in kept if name in stored}
    for name in kept:
        wanted, given = tuple(tensors[name].shape), stored.get(name)
        if given is None and whole and id(tensors[name]) not in there:
            raise BundleError(f"{what}: lacks the tensor {name}, of shape {wanted} in a model of this configuration")
        if given is not None and given.shape != wanted:
            raise BundleError(f"{what}: {name} has the shape {given.shape}; the model's is {wanted}")
        if given is not None and given.is_floating != tensors[name].is_floating_point():
            raise BundleError(
                f"{what}: {name} is made of {'' if given.is_floating else 'whole '}numbers, unlike a model's"
            )
    if unknown := sorted(stored.keys() - kept):
        raise BundleError(f"{what}: has the tensor {unknown[0]}, which a model of this configuration has not")
    computed = sum(tensor.nbytes for name, tensor in tensors.items() if name not in kept)
    if computed > MOST_COMPUTED:
        raise BundleError(
            f"{what}: a model of this configuration computes tables of {in_bytes(computed)} for itself; expected at "
            f"most {in_bytes(MOST_COMPUTED)}: smaller images, or larger patches"
        )
    return make()


def load_any_checkpoint(folder: Path) -> tuple[LexLIP | DenseModel, Tokenizer, dict[str, Any]]:
    """Read a checkpoint: the model in evaluation mode, its tokenizer, its training record.

    Raises:
        BundleError: a file is missing or damaged, or weights and configuration do not match.
    """
    try:
        config = read_object(folder / "config.json")
        weights = folder / WEIGHTS
        stored = stored_shapes(weights)
        model: LexLIP | DenseModel
        if config.get("representation") == "dense":
            dense = DenseConfig.model_validate(config)
            model = build(lambda: DenseModel(dense), stored, str(weights))
        else:
            lexicon = ModelConfig.model_validate(config)
            model = build(lambda: LexLIP(lexicon), stored, str(weights))
        load_model(model, str(weights))
        training = read_object(folder / "training.json")
        return model.eval(), read_tokenizer_file(folder / "tokenizer.json"), training
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: not a checkpoint, {error.filename} is missing") from None
    except BundleError as error:
        raise BundleError(f"{folder}: damaged checkpoint ({error})") from None
    except Exception as error:  # noqa: BLE001  (pydantic, timm and torch raise what they like)
        raise BundleError(f"{folder}: damaged checkpoint ({reason(error)})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint.

    Raises:
        BundleError: the file holds something else, is damaged, or is no regular file.
        OSError: it cannot be read.
    """
    content = read_json(path, refuse=lambda reason: BundleError(f"{path}: {reason}"))
    if not isinstance(content, dict):
        raise BundleError(f"{path}: holds no JSON object")
    return content


def reason(error: Exception) -> str:
    """What is wrong, in a line; of pydantic's many the place and the fault."""
    if isinstance(error, pydantic.ValidationError):
        return first_fault(error)
    return (str(error).splitlines() or [type(error).__name__])[0]


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
