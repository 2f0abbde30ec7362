"""Backbones to ONNX: pixels or token ids in, hidden states out, dynamic batch, standard operators only."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import onnx
import torch
from torch import Tensor, nn

from lexlip_export.graph_builder import OPSET, check
from lexlip_training.model import LexLIP


class _ImageBackbone(nn.Module):
    def __init__(self, model: LexLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        dtype = self.model.image_head.weight.dtype
        return self.model.image_hidden(pixel_values.to(dtype)).to(dtype)


class _TextBackbone(nn.Module):
    def __init__(self, model: LexLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.text_hidden(input_ids, attention_mask).to(self.model.text_head.weight.dtype)


def backbone_module(model: LexLIP, modality: Literal["image", "text"]) -> nn.Module:
    """One backbone as a module of its graph's inputs; half hidden states of a half model."""
    return _ImageBackbone(model) if modality == "image" else _TextBackbone(model)


def backbone_graph(model: LexLIP, modality: Literal["image", "text"]) -> onnx.ModelProto:
    """Export one backbone, the head's transform included, to a graph that gives `hidden` (B, L, H).

    Args:
        model: in evaluation mode; a half model takes float32 pixels too and gives float16 hidden states.
        modality: which tower.

    Raises:
        BundleError: the exported graph is not of the bundle's format.
    """
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    image, text = model.config.image, model.config.text
    if modality == "image":
        assert image is not None
        size = image.image_size
        inputs = {"pixel_values": torch.zeros(2, 3, size, size)}
        shapes: dict[str, dict[int, object]] = {"pixel_values": {0: batch}}
    else:
        assert text is not None
        length = torch.export.Dim("length", min=2, max=text.max_length)
        ids = torch.zeros(2, 7, dtype=torch.int64)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        shapes = {name: {0: batch, 1: length} for name in inputs}
    module = backbone_module(model, modality).eval()
    with _plain_attention(module):
        program = _export(module, inputs, shapes)
    return check(program, f"{modality} backbone")


@contextmanager
def _plain_attention(module: nn.Module) -> Iterator[None]:
    """Without timm's fused attention, whose output on a CPU has strides that the exporter cannot reshape."""
    fused: list[Any] = [layer for layer in module.modules() if getattr(layer, "fused_attn", False)]
    try:
        for layer in fused:
            layer.fused_attn = False
        yield
    finally:
        for layer in fused:
            layer.fused_attn = True


def _export(module: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, dict[int, object]]) -> onnx.ModelProto:
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            module,
            kwargs=inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["hidden"],
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    # Source lines and paths of this machine are no part of a model.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    return model
