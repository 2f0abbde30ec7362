"""lexlip_export: from a checkpoint to a model bundle that runs without torch.

Needs the extra `export`; without it the first name asked for raises MissingExtra.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lexlip_kernels.errors import require

if TYPE_CHECKING:
    from lexlip_export.bundle_writer import export_bundle
    from lexlip_export.pretrained import initialise_from_pretrained
    from lexlip_export.settings import ExportSettings, GateSettings
    from lexlip_export.sources import ImportOptions

__all__ = ["ExportSettings", "GateSettings", "ImportOptions", "export_bundle", "initialise_from_pretrained"]

_HOMES = {
    "ExportSettings": "settings",
    "GateSettings": "settings",
    "ImportOptions": "sources",
    "export_bundle": "bundle_writer",
    "initialise_from_pretrained": "pretrained",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in ("ExportSettings", "GateSettings"):
        # lexlip_training before timm and transformers, which it makes importable (its torchvision_shim says why).
        for module in ("torch", "lexlip_training", "timm", "transformers", "onnx", "onnxscript"):
            require(module, extra="export")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
