"""sentence-transformers' SparseEncoder, our text tower's weights in BertForMaskedLM. Variants: torch, onnx, openvino.

The last two export the model through `optimum`, whose part for ONNX ends before transformers 5: they run in an
environment of their own, see `sparse_encoder.txt`. A text tower with a term bonus is no BertForMaskedLM, and is
refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from contract import Job, Peer
from tokenizers import Tokenizer

from lexlip_infer.errors import BackendUnavailable, MissingExtra
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_training import LexLIP
from lexlip_training.checkpoint import load_checkpoint
from lexlip_training.torchvision_shim import declare_operators

declare_operators()  # before transformers is imported

import sentence_transformers  # noqa: E402
from sentence_transformers import SparseEncoder  # noqa: E402
from sentence_transformers.base.modules.transformer import Transformer  # noqa: E402
from sentence_transformers.sparse_encoder.modules import SpladePooling  # noqa: E402
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast  # noqa: E402


def open_peer(job: Job) -> Peer:
    """Write the model as transformers stores it, and load that."""
    torch.set_num_threads(job.threads)
    with tempfile.TemporaryDirectory() as folder:
        _write(job, Path(folder))
        encoder = _load(job, folder)

    def encode(texts: Sequence[str]) -> SparseBatch:
        found = encoder.encode(
            texts,
            batch_size=len(texts),
            show_progress_bar=False,
            convert_to_tensor=True,
            convert_to_sparse_tensor=False,
            max_active_dims=job.top_k,
        )
        return _sparse(found)

    name = f"sentence-transformers {sentence_transformers.__version__} SparseEncoder {job.variant}"
    return Peer(name, "equal", encode)


def _load(job: Job, folder: str) -> SparseEncoder:
    settings = {"torch": {}, "onnx": _onnxruntime(job.threads), "openvino": _openvino(job.threads)}
    try:
        bert = Transformer(
            folder, transformer_task="fill-mask", backend=job.variant, model_kwargs=settings[job.variant]
        )
    except Exception as error:  # noqa: BLE001  (it raises this very class where a package is missing)
        raise MissingExtra(
            f"its {job.variant} backend cannot run here ({error}); for an environment where it does see "
            "benchmarks/peers/sparse_encoder.txt"
        ) from None
    bert.max_seq_length = job.bundle.manifest.text.max_length if job.bundle.manifest.text else None
    return SparseEncoder(modules=[bert, SpladePooling("max", "relu")], device="cpu")


def _onnxruntime(threads: int) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return {"provider": "CPUExecutionProvider", "session_options": options, "export": True}


def _openvino(threads: int) -> dict[str, Any]:
    """In float32, which OpenVINO leaves on its own where the CPU has bf16."""
    values = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    return {"ov_config": values, "export": True}


def _write(job: Job, folder: Path) -> None:
    model, tokenizer, _ = load_checkpoint(job.checkpoint)
    if hasattr(model, "term_bonus"):
        raise BackendUnavailable("this text tower has a term bonus, which BertForMaskedLM cannot express")
    _as_transformers(model).save_pretrained(folder)
    special = {f"{word}_token": f"[{word.upper()}]" for word in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=_unpadded(tokenizer), **special).save_pretrained(folder)


def _unpadded(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@torch.no_grad()
def _as_transformers(model: LexLIP) -> BertForMaskedLM:
    values = model.text_tower.bert.config.to_dict() | {"tie_word_embeddings": False}
    mlm = BertForMaskedLM(BertConfig.from_dict(values)).eval()
    mlm.bert.load_state_dict(model.text_tower.bert.state_dict())
    ours, theirs = model.text_head, mlm.cls.predictions
    theirs.transform.dense.load_state_dict(ours.dense.state_dict())
    theirs.transform.LayerNorm.load_state_dict(ours.norm.state_dict())
    theirs.decoder.weight.copy_(ours.weight)
    theirs.bias.copy_(ours.decoder_bias())
    theirs.decoder.bias.copy_(ours.decoder_bias())
    return mlm


def _sparse(dense: torch.Tensor) -> SparseBatch:
    """Rows (B, V) that hold the kept terms alone."""
    rows = dense.cpu()
    indptr = torch.cat([torch.zeros(1, dtype=torch.long), rows.count_nonzero(dim=1).cumsum(0)])
    where = rows.nonzero(as_tuple=True)
    return SparseBatch(indptr.numpy(), where[1].int().numpy(), rows[where].numpy(), rows.shape[1])
