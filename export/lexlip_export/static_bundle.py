"""Write a bundle that holds no model: what terms weigh, a tokenizer, the card and the manifest.

The quantiser's scale is chosen here: weights of terms have no common measure (inverse document frequencies reach 10, or
20), and a scale of 100 would make the largest ones equal under a cap of 255.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydantic
from safetensors.numpy import save

from lexlip_export.bundle_folder import ATTRIBUTION, BundleFolder, check_replaceable
from lexlip_export.model_card import static_card
from lexlip_export.settings import MOST_QUERY_TERMS, ExportSettings
from lexlip_export.static_weights import StaticFolder
from lexlip_infer.bundle import FORMAT_VERSION, MANIFEST, Manifest
from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.files import first_fault, new_folder
from lexlip_infer.impacts import fitting_scale
from lexlip_infer.runtime.head_weights import HEADS, STATIC_WEIGHT

#: What a table can have of an export's settings.
_TAKEN = {"text_top_k", "scale", "cap"}


def write_static_bundle(
    table: StaticFolder, output: Path, settings: ExportSettings, attribution: str | None = None
) -> None:
    """Write a table of term weights as a bundle.

    Args:
        table: the weights, and how texts are encoded.
        output: must not exist, or be a bundle, which is replaced.
        settings: kept terms of a text (all of them unless they are given), scale (one that fits the weights) and cap.
        attribution: a text that names the makers.

    Raises:
        BundleError: the tokenizer has no term that can stand in for an empty vector.
        InputError: a setting is of graphs or images, which a table has none of.
        OutputError: `output` exists and is no bundle.
    """
    given = settings.model_fields_set - _TAKEN
    changed = sorted(name for name in given if getattr(settings, name) != getattr(ExportSettings(), name))
    if changed:
        raise InputError(f"{changed[0]} is of a model, and {table.name} is a table of term weights; leave it out")
    placeholder = table.tokenizer.token_to_id("[UNK]")
    if placeholder is None:
        raise BundleError(f"{table.name}: the tokenizer has no [UNK], which stands in for an empty vector")
    length = table.text.max_length
    kept = settings.text_top_k if "text_top_k" in settings.model_fields_set else table.text_top_k or length
    largest = float(table.weights.max()) if table.similarity == "dot" else 1.0
    scale = settings.scale if "scale" in settings.model_fields_set else fitting_scale(largest, settings.cap)
    check_replaceable(output)
    with new_folder(output, replace=True) as partial:
        files = BundleFolder(partial)
        files["tokenizer.json"] = table.tokenizer.to_str(pretty=True).encode()
        files[HEADS] = save({STATIC_WEIGHT: np.ascontiguousarray(table.weights)})
        if attribution is not None:
            files[ATTRIBUTION] = attribution.encode()
        files["README.md"] = static_card(table.name, table.weights, table.record).encode()
        fields = {
            "format_version": FORMAT_VERSION,
            "name": table.name,
            "vocab_size": len(table.weights),
            "hidden_size": 0,
            "image": None,
            "text": table.text,
            "similarity": table.similarity,
            "suppressed_ids": (),
            "placeholder_id": placeholder,
            "top_k": {"image": settings.image_top_k, "text": min(kept, MOST_QUERY_TERMS)},
            "quantisation": {"scale": scale, "cap": settings.cap},
            "provenance": {
                "training": table.record,
                "exported_with": {"lexlip-infer": version("lexlip-infer")},
            },
            "files": dict(sorted(files.records.items())),
        }
        try:
            manifest = Manifest.model_validate(fields)
        except pydantic.ValidationError as error:
            raise BundleError(f"{table.name}: no bundle can say so of a table: {first_fault(error)}") from None
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
