"""Store a graph's weights in half precision while it computes in float32: half the bytes, the same operators.

Every large float32 constant becomes a float16 one behind a Cast, which ONNX Runtime folds away when it loads the
graph. The rounding (at most 2^-11 of a weight) is real, so results move a little; this is about size, not speed.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lexlip_kernels.errors import BundleError

__all__ = ["MINIMUM", "store_half", "to_half"]

#: Smaller constants stay as they are: biases and norms cost little and matter much.
MINIMUM = 4096


def to_half(values: np.ndarray, name: str) -> np.ndarray:
    """Round to float16.

    Raises:
        BundleError: a value is beyond the range of float16.
    """
    if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise BundleError(f"{name} holds values that float16 cannot; export with full-precision storage")
    return values.astype(np.float16)


def store_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace large float32 initialisers by float16 ones and a Cast; changes the model in place and returns it."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < MINIMUM:
            continue
        name = tensor.name
        half = to_half(numpy_helper.to_array(tensor), name)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model
