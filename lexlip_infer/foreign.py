"""What a folder is that is no bundle, told by its small files: somebody else's model, or one that is not exported yet.

Nothing here reads weights. People come with a CLIP, because that is what images are searched with elsewhere; they
should be told what it is, what is expected, and where to go on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lexlip_infer.errors import InputError
from lexlip_infer.files import read_json

#: What tells a model, as far as it is there; no more of a hub's repository is fetched for it.
TELLING = ("config.json", "modules.json", "open_clip_config.json")

#: Of images and texts, dense, by `model_type`.
_DENSE = {
    "align": "ALIGN",
    "altclip": "AltCLIP",
    "blip": "BLIP",
    "blip-2": "BLIP-2",
    "chinese_clip": "Chinese-CLIP",
    "clip": "CLIP",
    "flava": "FLAVA",
    "jina_clip": "Jina CLIP",
    "metaclip_2": "MetaCLIP 2",
    "siglip": "SigLIP",
    "siglip2": "SigLIP 2",
}
_EXPECTED = "a lexicon model is expected, which gives weights of words; docs/models.md says which there are to download"
_DENSE_NAME = re.compile(r"clip|siglip|blip|align|dinov2|\bvit\b", re.IGNORECASE)
_SPARSE_MODULES = {"SpladePooling", "SparseStaticEmbedding", "Router", "Asym"}


def told(folder: Path) -> str:
    """What a folder without a manifest holds, and what to do; nothing where it tells nothing."""
    if kinds := _modules(folder):
        if _SPARSE_MODULES & kinds:
            return f"a sparse encoder of sentence-transformers: lexlip-export {folder} OUT makes a bundle of it"
        return f"a dense model of sentence-transformers; {_EXPECTED}"
    if _object(folder / "open_clip_config.json"):
        return f"a dense CLIP model of OpenCLIP; {_EXPECTED}"
    return _of_transformers(folder, _object(folder / "config.json"))


def _of_transformers(folder: Path, config: dict[str, Any]) -> str:
    kind = config.get("model_type")
    makes = f"lexlip-export {folder} OUT makes a bundle of"
    masked = any(str(name).endswith("ForMaskedLM") for name in _list(config.get("architectures")))
    if kind == "d2s":
        return f"a D2S head without its towers: lexlip-export {folder} OUT --dense BLIP_FOLDER makes a bundle of both"
    if isinstance(kind, str) and kind in _DENSE:
        head = ", or the towers under a D2S head" if kind == "blip" else ""
        return f"a dense {_DENSE[kind]} model{head}: one vector without words for each image; {_EXPECTED}"
    if {"encoder_p", "encoder_q"} <= config.keys():
        return f"a VDR model, not exported yet: {makes} it"
    if {"vocab_size", "image", "text"} <= config.keys():
        return f"a checkpoint, not exported yet: {makes} it"
    if masked:
        return f"a masked language model of type {kind!r}: {makes} SPLADE's kind"
    return f"a model of transformers of type {kind[:40]!r}; {_EXPECTED}" if isinstance(kind, str) else ""


def guessed(name: str) -> str:
    """What a hub id that cannot be looked at seems to be; nothing where its name says nothing."""
    if not _DENSE_NAME.search(name) or "lexlip" in name.lower():
        return ""
    return f"by its name it is a dense model, and {_EXPECTED}"


def _modules(folder: Path) -> set[str]:
    """Classes of sentence-transformers' modules, without their packages."""
    listed = _json(folder / "modules.json")
    kinds = [module.get("type") for module in _list(listed) if isinstance(module, dict)]
    return {kind.rsplit(".", 1)[-1] for kind in kinds if isinstance(kind, str)}


def _object(path: Path) -> dict[str, Any]:
    found = _json(path)
    return found if isinstance(found, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(path: Path) -> Any:
    try:
        return read_json(path, refuse=InputError)
    except (OSError, InputError):  # whatever it is, it tells nothing
        return None
