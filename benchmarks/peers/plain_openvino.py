"""OpenVINO, logits in memory behind the backbone. Variants: f32, bf16, and int8.

int8 is the bundle's quantised backbone; what it leaves unquantised, and the head, compute in bf16 where the CPU has it.
"""

from __future__ import annotations

import io
from typing import Any

from contract import Job, Peer, answer, inputs_of
from materialised import head_graph, whole_graph

from lexlip_infer.errors import BackendUnavailable
from lexlip_infer.runtime.choice import openvino_file
from lexlip_infer.runtime.openvino_package import openvino_core
from lexlip_infer.runtime.openvino_session import runs_bf16
from lexlip_infer.vectors.sparse_batch import SparseBatch


def open_peer(job: Job) -> Peer:
    """Compile."""
    import openvino

    if job.variant == "bf16" and not runs_bf16():
        raise BackendUnavailable("this CPU has no bf16")
    run = _two_graphs(job) if job.variant == "int8" else _one_graph(job)
    inputs = inputs_of(job)

    def encode(batch: Any) -> SparseBatch:
        weights, ids = run(inputs(batch))
        return SparseBatch.from_ranked(ids, weights, job.bundle.manifest.vocab_size)

    version = openvino.__version__.split("-")[0]
    output = "equal" if job.variant == "f32" else "rounded"
    return Peer(f"openvino {version} {job.variant}, logits in memory", output, encode)


def _one_graph(job: Job) -> Any:
    whole = _compile(job, openvino_core().read_model(io.BytesIO(whole_graph(job).SerializeToString())))
    return lambda inputs: _ranked(whole, inputs)


def _two_graphs(job: Job) -> Any:
    """The quantised backbone is a file of OpenVINO's own, which takes no ONNX nodes behind it."""
    core, name = openvino_core(), openvino_file(job.modality)
    if name not in job.bundle.manifest.files:
        raise BackendUnavailable("the bundle has no int8 model for OpenVINO; measure openvino:int8 as well")
    weights = job.bundle.read(name.removesuffix(".xml") + ".bin")
    backbone = _compile(job, core.read_model(job.bundle.read(name), weights))
    head = _compile(job, core.read_model(io.BytesIO(head_graph(job).SerializeToString())))
    masked = ["attention_mask"] if job.modality == "text" else []
    return lambda inputs: _ranked(
        head, {"hidden": backbone(inputs, share_inputs=True)[0]} | {word: inputs[word] for word in masked}
    )


def _compile(job: Job, model: Any) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": "f32" if job.variant == "f32" or not runs_bf16() else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": job.threads,
    }
    return openvino_core().compile_model(model, "CPU", settings)


def _ranked(compiled: Any, inputs: dict[str, Any]) -> tuple[Any, Any]:
    found = compiled(inputs, share_inputs=True)
    return found["weights"], found["ids"]


if __name__ == "__main__":
    answer(open_peer)
