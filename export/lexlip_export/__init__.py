"""lexlip_export: from a checkpoint to a model bundle that runs without torch.

Needs the extra `export`.
"""

from lexlip_kernels.errors import require

require("torch", extra="export")
require("onnx", extra="export")

from lexlip_export.bundle_writer import export_bundle  # noqa: E402

__all__ = ["export_bundle"]
