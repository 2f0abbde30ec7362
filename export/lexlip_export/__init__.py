"""lexlip_export: from a checkpoint to a model bundle that runs without torch.

Needs the extra `export`; without it the first name asked for raises MissingExtra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_kernels.errors import require

if TYPE_CHECKING:
    from lexlip_export.bundle_writer import export_bundle
    from lexlip_export.settings import ExportSettings
    from lexlip_export.sources import ImportOptions

__all__ = ["ExportSettings", "ImportOptions", "export_bundle"]


def __getattr__(name: str) -> object:
    if name == "ExportSettings":
        from lexlip_export.settings import ExportSettings

        return ExportSettings
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # lexlip_training before timm and transformers, which it makes importable (its torchvision_shim says why).
    for module in ("torch", "lexlip_training", "timm", "transformers", "onnx", "onnxscript"):
        require(module, extra="export")
    from lexlip_export.bundle_writer import export_bundle
    from lexlip_export.sources import ImportOptions

    return export_bundle if name == "export_bundle" else ImportOptions


def __dir__() -> list[str]:
    return __all__
