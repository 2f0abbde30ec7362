"""What every exported graph must be: IR 10 and opset 20, the newest that ONNX Runtime 1.26 on a V100 loads."""

from __future__ import annotations

import onnx

from lexlip_kernels.errors import BundleError

__all__ = ["IR_VERSION", "OPSET", "check"]

IR_VERSION = 10
OPSET = 20


def check(model: onnx.ModelProto, name: str, ir_version: int = IR_VERSION) -> onnx.ModelProto:
    """Set the IR version, then assert format, well-formedness and inferable shapes.

    Args:
        model: changed in place and returned.
        name: for the message.
        ir_version: an older one where the graph is for an older runtime.

    Raises:
        BundleError: another opset crept in, or ONNX's own checker refuses the graph.
    """
    model.ir_version = ir_version
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        raise BundleError(f"{name}: opsets {opsets}; expected ai.onnx {OPSET} alone")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"{name}: not a valid ONNX model ({error})") from None
    return model
