"""A bundle in every precision, gated on captions; and the shipped model as a torch module again, read back from its
graphs: trained weights without a checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tokenizers import Tokenizer
from torch import Tensor

from lexlip_export import ExportSettings, bundle_writer
from lexlip_export.bundle_writer import write_bundle
from lexlip_export.settings import GateSettings
from lexlip_infer.bundle import Bundle, Modality, backbone_file, shipped_bundle
from lexlip_infer.runtime.head_weights import read_decoder
from lexlip_training import LexLIP
from lexlip_training.config import preset

if TYPE_CHECKING:
    from torch import nn

ExportedGraph = Callable[[LexLIP, Modality], onnx.ModelProto]


@pytest.fixture(scope="session")
def captions_file(photographs: Path, captions: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five photographs with a caption each, all of split "dev"."""
    file = tmp_path_factory.mktemp("captions") / "captions.jsonl"
    paths = sorted(path for path in photographs.rglob("*") if path.is_file())
    rows = [
        {"image": str(path), "captions": [caption], "split": "dev"}
        for path, caption in zip(paths, captions, strict=False)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="session")
def exported_graph(bundle_folder: Path) -> ExportedGraph:
    """Stands in for `backbone_graph` in float32: the graph as the shared bundle has it. Exporting takes seconds."""
    bundle = Bundle.open(bundle_folder)
    return lambda _model, modality: onnx.load_from_string(bundle.read(backbone_file(modality, "f32")))


@pytest.fixture(scope="session")
def precise_bundle(
    random_model: LexLIP,
    tokenizer: Tokenizer,
    captions_file: Path,
    exported_graph: ExportedGraph,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """The random model in f32, fp16 and int8. Recall of five documents jumps, so its limit is off."""
    folder = tmp_path_factory.mktemp("precise") / "bundle"
    settings = ExportSettings(image_top_k=24, text_top_k=8, precisions=("f32", "fp16", "int8"))
    gate = GateSettings(captions=captions_file)
    free = {"recall_loss": 100.0, "agreement": 0.0}
    gate = gate.model_copy(update={name: getattr(gate, name).model_copy(update=free) for name in ("fp16", "int8")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_writer, "backbone_graph", exported_graph)
        write_bundle(random_model, tokenizer, {"notice": "Random weights."}, folder, settings, gate=gate)
    return Bundle.open(folder)


@pytest.fixture(scope="session")
def shipped_model() -> LexLIP:
    """lexlip-tiny with the weights of its bundle, which are rounded to int8."""
    bundle = Bundle.open(shipped_bundle())
    manifest, shapes = bundle.manifest, preset("lexlip-tiny")
    assert manifest.image is not None
    assert shapes.image is not None
    changes = {
        "vocab_size": manifest.vocab_size,
        "suppressed_ids": manifest.suppressed_ids,
        "image": shapes.image.model_copy(update={"image_size": manifest.image.size}),
    }
    config = shapes.model_copy(update=changes)
    model = LexLIP(config).eval()
    _fill(model, bundle)
    return model


@torch.no_grad()
def _fill(model: LexLIP, bundle: Bundle) -> None:
    weights: dict[str, Tensor] = {}
    for modality in ("image", "text"):
        graph = onnx.load_from_string(bundle.read(f"onnx/{modality}_backbone.onnx")).graph
        weights |= {name.removeprefix("model."): value for name, value in _named_weights(graph)}
    for modality in ("image", "text"):
        decoder, bias = read_decoder(bundle, modality)
        weights[f"{modality}_head.bias"] = torch.from_numpy(bias)
    weights["text_tower.bert.embeddings.word_embeddings.weight"] = torch.from_numpy(decoder)
    weights["query_weight"] = torch.zeros(len(bias))  # no graph has it
    _unfold_batch_norms(model, weights)
    for name, parameter in model.named_parameters():
        parameter.copy_(weights.pop(name).reshape(parameter.shape))
    unused = {
        "text_tower.bert.embeddings.position_ids",
        "text_head.weight",
        "image_head.weight",
        "text_head.suppressed",
    }
    assert set(weights) <= unused


def _named_weights(graph: onnx.GraphProto) -> Iterator[tuple[str, Tensor]]:
    """Initialisers under the names of their parameters; a constant-folded one is named after the bias added next."""
    stored = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    constants = {
        name.removesuffix(".half").removesuffix(".int8"): value * stored[f"{name.removesuffix('.int8')}.scale"]
        if name.endswith(".int8")
        else value
        for name, value in stored.items()
        if not name.endswith(".scale")
    }
    added = {node.input[0]: node.input[1] for node in graph.node if node.op_type == "Add"}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants:
            yield added[node.output[0]].removesuffix("bias") + "weight", constants[node.input[1]].float().T
        if node.op_type.startswith("Gather") and node.input[0] in constants and constants[node.input[0]].ndim == 1:
            yield "term_bonus", constants[node.input[0]].float()
    yield from ((name, value.float()) for name, value in constants.items() if name.startswith("model."))


def _unfold_batch_norms(model: LexLIP, weights: dict[str, Tensor]) -> None:
    """The graphs hold convolutions with their batch norms folded in: here they add a bias and no more."""
    backbone = model.image_tower.backbone
    convolutions = [name for name, module in backbone.named_modules() if isinstance(module, torch.nn.Conv2d)]
    norms: list[tuple[str, nn.BatchNorm2d]] = [
        (name, module) for name, module in backbone.named_modules() if isinstance(module, torch.nn.BatchNorm2d)
    ]
    for convolution, (name, norm) in zip(convolutions, norms, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0)
        prefix = "image_tower.backbone"
        weights[f"{prefix}.{name}.bias"] = weights.pop(f"{prefix}.{convolution}.weight_bias")
        weights[f"{prefix}.{name}.weight"] = torch.full_like(norm.weight, float(np.sqrt(1.0 + norm.eps)))
