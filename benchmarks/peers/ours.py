"""Ourselves, through the public encoder. Variants: a precision, or openvino:PRECISION."""

from __future__ import annotations

from contract import Job, Peer, answer

from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.runtime.options import RuntimeOptions


def open_peer(job: Job) -> Peer:
    """Load the tower."""
    backend, _, precision = job.variant.rpartition(":")
    options = RuntimeOptions("cpu", precision, backend or "onnxruntime", threads=job.threads)
    encoder = LexLIPEncoder(job.bundle, options)
    encoder.load(job.modality)
    output = "equal" if precision == "f32" else "rounded"
    if job.modality == "image":
        return Peer(f"lexlip-infer {job.variant}", output, lambda pixels: encoder.encode_pixels(pixels, job.top_k))
    return Peer(
        f"lexlip-infer {job.variant}",
        output,
        lambda texts: encoder.encode_texts(texts, len(texts), job.top_k, show_progress_bar=False),
    )


if __name__ == "__main__":
    answer(open_peer)
