"""ONNX Runtime, float32, the whole model as one graph with its logits in memory: what a plain export does."""

from __future__ import annotations

from typing import Any

import onnxruntime
from contract import Job, Peer, answer, inputs_of
from materialised import whole_graph

from lexlip_infer.vectors.sparse_batch import SparseBatch


def open_peer(job: Job) -> Peer:
    """Load the graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.log_severity_level = 3
    graph = whole_graph(job).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = inputs_of(job)

    def encode(batch: Any) -> SparseBatch:
        weights, ids = session.run(["weights", "ids"], inputs(batch))
        return SparseBatch.from_ranked(ids, weights, job.bundle.manifest.vocab_size)

    return Peer(f"onnxruntime {onnxruntime.__version__}, logits in memory", "equal", encode)


if __name__ == "__main__":
    answer(open_peer)
