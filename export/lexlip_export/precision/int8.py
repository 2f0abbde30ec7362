"""Backbones in dynamic int8: weights quantised per output channel, activations per tensor as they come.

Matrix products with constant weights only; a convolutional backbone stays in float32 and gains little. The result
holds standard operators (DynamicQuantizeLinear, MatMulInteger), which ONNX Runtime fuses when it loads the graph.

Weights are signed, because ONNX Runtime is several times slower with unsigned ones. On a processor without VNNI,
sums of two products can then saturate: the parity gate speaks for the kind of processor that it ran on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from lexlip_export.format import check

__all__ = ["int8_graph"]


def int8_graph(backbone: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Quantise a float32 backbone.

    Args:
        backbone: as `backbone_graph` gives it; not changed.
        name: for messages.

    Raises:
        BundleError: the result is not of the bundle's format.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    source = onnx.ModelProto()
    source.CopyFrom(backbone)
    add_pre_process_metadata(source)  # the exporter has folded constants and inferred shapes already
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(source, path, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
        model = onnx.load(path)
    del model.metadata_props[:]
    model.metadata_props.extend(backbone.metadata_props)
    return check(model, name)
