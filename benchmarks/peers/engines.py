"""The engines that are held against each other: ours, what one writes without us, and a dense model of the same size.

    python benchmarks/peers/engines.py ENGINE ...        # started by run.py; `ENGINES` has the names

The float32 ones do our mathematics with every logit (B, L, V) in memory, as a plain export or plain torch has it.
Libraries are imported by the engine that needs them: what another has loaded would be in its memory and in its time.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from contract import Job, Peer, answer, inputs_of

from lexlip_infer.bundle import backbone_file
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import BackendUnavailable
from lexlip_infer.runtime.choice import RuntimeOptions, openvino_file
from lexlip_infer.runtime.head_weights import read_decoder
from lexlip_infer.vectors.sparse_batch import SparseBatch

if TYPE_CHECKING:
    import onnx

CLIP_WIDTH = 512


def open_ours(job: Job) -> Peer:
    """Through the public encoder. Variants: a precision, or openvino:PRECISION."""
    backend, _, precision = job.variant.rpartition(":")
    encoder = LexLIPEncoder(job.bundle, RuntimeOptions("cpu", precision, backend or "onnxruntime", threads=job.threads))
    encoder.load(job.modality)

    def encode(batch: Any) -> SparseBatch:
        if job.modality == "image":
            return encoder.encode_pixels(batch, job.top_k)
        return encoder.encode_texts(batch, len(batch), job.top_k, show_progress_bar=False)

    return Peer(f"lexlip-infer {job.variant}", "equal" if precision == "f32" else "rounded", encode)


def open_torch(job: Job) -> Peer:
    """The checkpoint in float32. Variants: eager, and compile (torch.compile, a graph for each batch size)."""
    import torch

    from lexlip_training.checkpoint import load_checkpoint

    torch.set_num_threads(job.threads)
    model, _, _ = load_checkpoint(job.checkpoint)
    model.eval()
    k, inputs = min(job.top_k, model.config.vocab_size), inputs_of(job)
    if job.modality == "text":  # training uses plain operators; this is transformers' own default, and faster
        model.text_tower.bert.set_attn_implementation("sdpa")
    head = model.image_head if job.modality == "image" else model.text_head
    for unused in {"image", "text"} - {job.modality}:  # half of the memory
        delattr(model, f"{unused}_tower")
    weight, bias = head.weight, head.decoder_bias().detach()

    def ranked(given: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        if job.modality == "image":
            logits = torch.nn.functional.linear(model.image_hidden(given["pixel_values"]), weight, bias)
        else:
            mask = given["attention_mask"]
            logits = torch.nn.functional.linear(model.text_hidden(given["input_ids"], mask), weight, bias)
            logits = logits.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf)
        weights, ids = logits.amax(dim=1).relu().log1p().topk(k)
        return ids, weights

    run = torch.compile(ranked, dynamic=False) if job.variant == "compile" else ranked

    @torch.inference_mode()
    def encode(batch: Any) -> SparseBatch:
        ids, weights = run({name: torch.from_numpy(array) for name, array in inputs(batch).items()})
        return SparseBatch.from_ranked(ids.numpy(), weights.numpy(), job.bundle.manifest.vocab_size)

    return Peer(f"torch {torch.__version__} {job.variant}", "equal", encode)


def open_onnxruntime(job: Job) -> Peer:
    """ONNX Runtime, float32, the whole model as one graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.log_severity_level = 3
    graph = whole_graph(job).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    encode = _ranking(job, partial(session.run, ["weights", "ids"]))
    return Peer(f"onnxruntime {onnxruntime.__version__}, logits in memory", "equal", encode)


def open_openvino(job: Job) -> Peer:
    """OpenVINO. Variants: f32, bf16, and int8.

    int8 is the bundle's quantised backbone; what it leaves unquantised, and the head, compute in bf16 where the CPU has
    it.
    """
    import openvino

    from lexlip_infer.runtime.openvino_session import openvino_core, runs_bf16

    if job.variant == "bf16" and not runs_bf16():
        raise BackendUnavailable("this CPU has no bf16")
    core = openvino_core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32" if job.variant == "f32" or not runs_bf16() else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": job.threads,
    }

    def compiled(*model: Any) -> Any:
        return core.compile_model(core.read_model(*model), "CPU", settings)

    if job.variant == "int8":
        run = _int8_backbone(job, compiled)
    else:
        whole = compiled(io.BytesIO(whole_graph(job).SerializeToString()))
        run = partial(_found, whole)
    version, output = openvino.__version__.split("-")[0], "equal" if job.variant == "f32" else "rounded"
    return Peer(f"openvino {version} {job.variant}, logits in memory", output, _ranking(job, run))


def _int8_backbone(job: Job, compiled: Callable[..., Any]) -> Callable[[Any], tuple[Any, Any]]:
    """The quantised backbone is a file of OpenVINO's own, which takes no ONNX nodes behind it: two graphs."""
    name = openvino_file(job.modality)
    if name not in job.bundle.manifest.files:
        raise BackendUnavailable("the bundle has no int8 model for OpenVINO; measure openvino:int8 as well")
    backbone = compiled(job.bundle.read(name), job.bundle.read(name.removesuffix(".xml") + ".bin"))
    head = compiled(io.BytesIO(head_graph(job).SerializeToString()))
    masked = ["attention_mask"] if job.modality == "text" else []

    def run(inputs: Any) -> tuple[Any, Any]:
        hidden = backbone(inputs, share_inputs=True)[0]
        return _found(head, {"hidden": hidden} | {word: inputs[word] for word in masked})

    return run


def _found(compiled: Any, inputs: Any) -> tuple[Any, Any]:
    found = compiled(inputs, share_inputs=True)
    return found["weights"], found["ids"]


def _ranking(job: Job, run: Callable[[Any], Any]) -> Callable[[Any], SparseBatch]:
    inputs, vocab_size = inputs_of(job), job.bundle.manifest.vocab_size

    def encode(batch: Any) -> SparseBatch:
        weights, ids = run(inputs(batch))
        return SparseBatch.from_ranked(ids, weights, vocab_size)

    return encode


def open_clip(job: Job) -> Peer:
    """CLIP's image tower, ViT-B/16 with random weights: the dense encoder that one would take instead."""
    import torch

    from lexlip_training.torchvision_shim import declare_operators

    declare_operators()
    import transformers

    torch.set_num_threads(job.threads)
    assert isinstance(job.inputs, np.ndarray), "images alone"
    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    sizes |= {"image_size": job.inputs.shape[-1], "patch_size": 16, "projection_dim": CLIP_WIDTH}
    model = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**sizes)).eval()

    @torch.inference_mode()
    def encode(pixels: Any) -> None:
        model(pixel_values=torch.from_numpy(pixels))

    name = f"transformers {transformers.__version__} CLIP ViT-B/16, torch"
    return Peer(name, f"another model: dense, {CLIP_WIDTH}", encode)


def head_graph(job: Job) -> onnx.ModelProto:
    """Hidden (B, L, H), and the mask of texts, to weights and ids (B, K)."""
    from onnx import TensorProto, helper

    hidden = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["b", "l", job.bundle.manifest.hidden_size])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["b", "l"])
    graph = helper.make_graph([], "head", [hidden] if job.modality == "image" else [hidden, mask], [])
    _append_head(graph, job)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def whole_graph(job: Job) -> onnx.ModelProto:
    """Model inputs to weights and ids: the float32 backbone with that head behind it."""
    import onnx

    model = onnx.load_from_string(job.bundle.read(backbone_file(job.modality, "f32")))
    del model.graph.output[:]
    _append_head(model.graph, job)
    return model


def _append_head(graph: onnx.GraphProto, job: Job) -> None:
    """All logits, their maximum over tokens, saturation, TopK; padding is masked as BERT does it, by a large number."""
    from onnx import TensorProto, helper, numpy_helper

    weight, bias = read_decoder(job.bundle, job.modality)
    k = min(job.top_k, len(bias))
    constants = {"W": weight.T.copy(), "b": bias, "K": np.array([k]), "one": np.float32(1), "axis": np.array([1])}
    constants |= {"last": np.array([-1]), "far": np.float32(1e6)}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"peer_{name}") for name, value in constants.items()
    )
    masking: list[tuple[str, list[str], str]] = [("Identity", ["logits"], "kept")]
    if job.modality == "text":
        graph.node.append(helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT))
        masking = [
            ("Sub", ["mask", "peer_one"], "padding"),
            ("Mul", ["padding", "peer_far"], "penalty"),
            ("Unsqueeze", ["penalty", "peer_last"], "penalties"),
            ("Add", ["logits", "penalties"], "kept"),
        ]
    nodes = [("MatMul", ["hidden", "peer_W"], "products"), ("Add", ["products", "peer_b"], "logits"), *masking]
    graph.node.extend(helper.make_node(operator, given, [result]) for operator, given, result in nodes)
    graph.node.append(helper.make_node("ReduceMax", ["kept", "peer_axis"], ["pooled"], keepdims=0))
    nodes = [("Relu", ["pooled"], "positive"), ("Add", ["positive", "peer_one"], "shifted")]
    nodes += [("Log", ["shifted"], "saturated")]
    graph.node.extend(helper.make_node(operator, given, [result]) for operator, given, result in nodes)
    graph.node.append(helper.make_node("TopK", ["saturated", "peer_K"], ["weights", "ids"], axis=1))
    outputs = (("weights", TensorProto.FLOAT), ("ids", TensorProto.INT64))
    graph.output.extend(helper.make_tensor_value_info(name, dtype, ["b", k]) for name, dtype in outputs)


def open_sparse_encoder(job: Job) -> Peer:
    """sentence-transformers' SparseEncoder, see `sparse_encoder.py`. Variants: torch, onnx, openvino."""
    from sparse_encoder import open_peer

    return open_peer(job)


ENGINES: dict[str, Callable[[Job], Peer]] = {
    "ours": open_ours,
    "torch": open_torch,
    "onnxruntime": open_onnxruntime,
    "openvino": open_openvino,
    "clip": open_clip,
    "sparse_encoder": open_sparse_encoder,
}

if __name__ == "__main__":
    answer(ENGINES)
