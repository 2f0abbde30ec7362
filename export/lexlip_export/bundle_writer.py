"""Write a bundle: graphs, heads, tokenizer, model card, and last the manifest that names them all by hash.

The folder is built beside its destination and renamed into place: a bundle is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from safetensors.numpy import save
from tokenizers import Tokenizer

from lexlip_export.backbone_graph import backbone_graph
from lexlip_export.half_storage import store_half, to_half
from lexlip_export.head_graph import head_graph
from lexlip_export.model_card import model_card
from lexlip_export.settings import ExportSettings
from lexlip_export.sources import ImportOptions, load_source
from lexlip_infer.bundle import FORMAT_VERSION, MANIFEST, Bundle, Manifest
from lexlip_infer.errors import BundleError, OutputError
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP

__all__ = ["export_bundle", "write_bundle"]


def export_bundle(
    checkpoint: Path,
    output: Path,
    settings: ExportSettings | None = None,
    evaluation: dict[str, Any] | None = None,
    options: ImportOptions | None = None,
) -> None:
    """Turn a checkpoint into a bundle folder.

    Args:
        checkpoint: a folder as `lexlip_training.save_checkpoint` writes it, an official LexLIP checkpoint file, or
            a Hugging Face folder of a BERT masked language model (SPLADE).
        output: must not exist, or be a bundle, which is replaced.
        settings: defaults and storage.
        evaluation: what `lexlip eval --json` printed for an earlier export, for the model card.
        options: tokenizer and overrides, where the checkpoint is not one of ours.

    Raises:
        BundleError: the checkpoint cannot be read, or its graphs are not of the bundle's format.
        InputError: an option does not go with this kind of checkpoint.
        OutputError: `output` exists and is no bundle.
    """
    source, settings = load_source(checkpoint, options or ImportOptions()), settings or ExportSettings()
    if source.similarity is not None:
        settings = settings.model_copy(update={"similarity": source.similarity})
    write_bundle(source.model, source.tokenizer, source.record, output, settings, evaluation)


def write_bundle(
    model: LexLIP,
    tokenizer: Tokenizer | None,
    training: dict[str, Any],
    output: Path,
    settings: ExportSettings,
    evaluation: dict[str, Any] | None = None,
) -> None:
    """Write a model in memory as a bundle; arguments and errors as for `export_bundle`.

    Without a tokenizer the bundle encodes token ids and no strings.
    """
    _check_replaceable(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        partial.chmod(0o755)
        files = _files(model, tokenizer, settings)
        files["README.md"] = model_card(model, training, settings.model_dump(), evaluation).encode()
        for name, data in files.items():
            path = partial / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        manifest = _manifest(model.config, tokenizer, training, settings, files)
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if output.exists():
            shutil.rmtree(output)
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_replaceable(output: Path) -> None:
    """Refuse to remove anything that no export has written."""
    if not output.exists():
        return
    if not (output / MANIFEST).exists():
        raise OutputError(f"{output}: exists and is not a bundle; name a new folder or remove it")
    known = {output / name for name in (MANIFEST, *Bundle.open(output).manifest.files)}
    foreign = [path for path in output.rglob("*") if path.is_file() and path not in known]
    if foreign:
        raise OutputError(f"{foreign[0]}: not part of the bundle that would be replaced; move it away first")


def _files(model: LexLIP, tokenizer: Tokenizer | None, settings: ExportSettings) -> dict[str, bytes]:
    """Contents of every file that the model determines, by path."""
    half = settings.storage == "f16"
    files: dict[str, bytes] = {}
    heads: dict[str, npt.NDArray[Any]] = {}
    if tokenizer is not None:
        files["tokenizer.json"] = _plain(tokenizer).to_str(pretty=True).encode()
    top_k = {"image": settings.image_top_k, "text": settings.text_top_k}
    for modality in model.config.modalities:
        head = getattr(model, f"{modality}_head")
        weight: npt.NDArray[np.float32] = head.weight.detach().float().numpy()
        bias: npt.NDArray[np.float32] = head.decoder_bias().detach().float().numpy()
        heads[f"{modality}.weight"] = to_half(weight, f"the {modality} decoder") if half else weight
        heads[f"{modality}.bias"] = bias
        graphs = {
            "backbone": backbone_graph(model, modality),
            "head": head_graph(weight, bias, min(top_k[modality], len(bias)), masked=modality == "text"),
        }
        for part, graph in graphs.items():
            stored: onnx.ModelProto = store_half(graph) if half else graph
            files[f"onnx/{modality}_{part}.onnx"] = stored.SerializeToString(deterministic=True)
    files["heads.safetensors"] = save(heads)
    return files


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """Without truncation and padding: those are the manifest's."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _manifest(
    config: ModelConfig,
    tokenizer: Tokenizer | None,
    training: dict[str, Any],
    settings: ExportSettings,
    files: dict[str, bytes],
) -> Manifest:
    placeholder = None if tokenizer is None else tokenizer.token_to_id("[UNK]")
    if tokenizer is not None and placeholder is None:
        raise BundleError("the tokenizer has no [UNK], which stands in for an empty vector")
    image, text = config.image, config.text
    return Manifest.model_validate(
        {
            "format_version": FORMAT_VERSION,
            "name": config.name,
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "image": image and {"size": image.image_size, "resize": image.resize, "mean": image.mean, "std": image.std},
            "text": text and {"max_length": text.max_length},
            "tokenizer": None if tokenizer is None else "tokenizer.json",
            "similarity": settings.similarity,
            "suppressed_ids": config.suppressed_ids,
            "placeholder_id": placeholder,
            "top_k": {"image": settings.image_top_k, "text": settings.text_top_k},
            "quantisation": {"scale": settings.scale, "cap": settings.cap},
            "provenance": {
                "training": {key: value for key, value in training.items() if key != "log"},
                "storage": settings.storage,
                "exported_with": {name: version(name) for name in ("lexlip-infer", "torch", "onnx")},
            },
            "files": {
                name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
                for name, data in sorted(files.items())
            },
        }
    )
