"""lexlip_export: from a checkpoint to a model bundle that runs without torch.

Needs the extra `export`; without it the first name asked for raises MissingExtra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_kernels.errors import require

if TYPE_CHECKING:
    from lexlip_export.bundle_writer import export_bundle
    from lexlip_export.gate_settings import GateSettings
    from lexlip_export.settings import ExportSettings

__all__ = ["ExportSettings", "GateSettings", "export_bundle"]


def __getattr__(name: str) -> object:
    if name == "ExportSettings":
        from lexlip_export.settings import ExportSettings

        return ExportSettings
    if name == "GateSettings":
        from lexlip_export.gate_settings import GateSettings

        return GateSettings
    if name != "export_bundle":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # lexlip_training before timm and transformers, which it makes importable (its torchvision_shim says why).
    for module in ("torch", "lexlip_training", "timm", "transformers", "onnx", "onnxscript"):
        require(module, extra="export")
    from lexlip_export.bundle_writer import export_bundle

    return export_bundle


def __dir__() -> list[str]:
    return __all__
