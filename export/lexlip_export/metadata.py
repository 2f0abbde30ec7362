"""What a graph says about itself, so that a file that left its bundle can still be told from another."""

from __future__ import annotations

import json
from importlib.metadata import version

import onnx

from lexlip_export.settings import ExportSettings
from lexlip_infer.bundle import Modality
from lexlip_training.config import ModelConfig

__all__ = ["embed_metadata", "graph_metadata"]


def graph_metadata(config: ModelConfig, settings: ExportSettings, modality: Modality) -> dict[str, str]:
    """The manifest's fields that matter to whoever feeds this modality's graphs or reads their outputs.

    Args:
        config: of the model.
        settings: of the export.
        modality: which tower.

    Returns:
        Values by key; whatever is no string is JSON.
    """
    fields: dict[str, object] = {
        "name": config.name,
        "lexlip_version": version("lexlip-infer"),
        "modality": modality,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "similarity": settings.similarity,
        "top_k": settings.image_top_k if modality == "image" else settings.text_top_k,
        "scale": settings.scale,
        "cap": settings.cap,
    }
    if modality == "image" and (image := config.image):
        fields |= {"image_size": image.image_size, "resize": image.resize, "mean": image.mean, "std": image.std}
    elif modality == "text" and config.text:
        fields |= {"max_length": config.text.max_length}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}


def embed_metadata(graph: onnx.ModelProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """Set the graph's `metadata_props`, which ONNX Runtime shows as its custom metadata; changed in place, returned."""
    onnx.helper.set_model_props(graph, metadata)
    return graph
