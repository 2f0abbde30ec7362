"""The head that a plain export writes: all logits (B, L, V), their maximum over tokens, saturation, TopK."""

from __future__ import annotations

import numpy as np
import onnx
from contract import Job
from onnx import TensorProto, helper, numpy_helper

from lexlip_infer.bundle import backbone_file
from lexlip_infer.runtime.decoder import read_decoder

__all__ = ["head_graph", "whole_graph"]


def head_graph(job: Job) -> onnx.ModelProto:
    """Hidden (B, L, H), and the mask of texts, to weights and ids (B, K)."""
    hidden = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["b", "l", job.bundle.manifest.hidden_size])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["b", "l"])
    inputs = [hidden] if job.modality == "image" else [hidden, mask]
    graph = helper.make_graph([], "head", inputs, [])
    _append_head(graph, job)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def whole_graph(job: Job) -> onnx.ModelProto:
    """Model inputs to weights and ids: the float32 backbone with that head behind it."""
    model = onnx.load_from_string(job.bundle.read(backbone_file(job.modality, "f32")))
    del model.graph.output[:]
    _append_head(model.graph, job)
    return model


def _append_head(graph: onnx.GraphProto, job: Job) -> None:
    weight, bias = read_decoder(job.bundle, job.modality)
    k = min(job.top_k, len(bias))
    constants = {"W": weight.T.copy(), "b": bias, "K": np.array([k]), "one": np.float32(1), "axis": np.array([1])}
    constants |= {"last": np.array([-1]), "far": np.float32(1e6)}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"peer_{name}") for name, value in constants.items()
    )
    logits = [
        helper.make_node("MatMul", ["hidden", "peer_W"], ["products"]),
        helper.make_node("Add", ["products", "peer_b"], ["logits"]),
    ]
    pooled = [
        helper.make_node("ReduceMax", ["kept", "peer_axis"], ["pooled"], keepdims=0),
        helper.make_node("Relu", ["pooled"], ["positive"]),
        helper.make_node("Add", ["positive", "peer_one"], ["shifted"]),
        helper.make_node("Log", ["shifted"], ["saturated"]),
        helper.make_node("TopK", ["saturated", "peer_K"], ["weights", "ids"], axis=1),
    ]
    graph.node.extend([*logits, *_masking(job), *pooled])
    outputs = (("weights", TensorProto.FLOAT), ("ids", TensorProto.INT64))
    graph.output.extend(helper.make_tensor_value_info(name, dtype, ["b", k]) for name, dtype in outputs)


def _masking(job: Job) -> list[onnx.NodeProto]:
    """As BERT does it: a large negative number is added to the logits of padding."""
    if job.modality == "image":
        return [helper.make_node("Identity", ["logits"], ["kept"])]
    return [
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["mask", "peer_one"], ["padding"]),
        helper.make_node("Mul", ["padding", "peer_far"], ["penalty"]),
        helper.make_node("Unsqueeze", ["penalty", "peer_last"], ["penalties"]),
        helper.make_node("Add", ["logits", "penalties"], ["kept"]),
    ]
