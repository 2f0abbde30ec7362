"""A whole bundle of format 5: elu1p, norm over the vocabulary, admitted padding, own terms, some tokens as terms.

What every head gives is compared with numpy on the hidden states of the same backbone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load, save

from lexlip_export.further_graphs import merged_graph
from lexlip_export.head_graph import head_graph
from lexlip_infer import LexLIPEncoder
from lexlip_infer.bundle import Bundle
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.head_contract import HeadContract
from lexlip_infer.runtime.heads import TritonHead, TritonTopK
from lexlip_infer.runtime.opening import open_tower
from lexlip_infer.runtime.tower import Tower
from lexlip_kernels.head_rule import HeadRule

TEXTS = ["a dog", "two children play football on a sunny beach near the water", "", "a small white cat sleeps"]
RULE = HeadRule("elu1p", normalise=True)
SIDE = {"saturation": "elu1p", "normalise": "full_vocabulary"}


@pytest.fixture(scope="module")
def folder(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random model with every second token as a term, and all of the new fields."""
    import onnx

    folder = shutil.copytree(bundle_folder, tmp_path_factory.mktemp("five") / "bundle")
    manifest = json.loads((folder / "lexlip.json").read_text())
    count = manifest["vocab_size"]
    tokens = np.arange(1, count, 2)
    arrays = load((folder / "heads.safetensors").read_bytes())
    arrays = {name: array[tokens] for name, array in arrays.items() if not name.endswith("static_weight")}
    files: dict[str, bytes] = {"term_tokens.json": json.dumps(tokens.tolist()).encode(), "heads.safetensors": b""}
    terms = np.full(count, -1)
    terms[tokens] = np.arange(len(tokens))
    suppressed = [int(terms[i]) for i in manifest["suppressed_ids"] if terms[i] >= 0] + [40]
    for modality in ("image", "text"):
        bias = arrays[f"{modality}.bias"]
        bias[suppressed] = -1e4
        weight = arrays.get(f"{modality}.weight", arrays.get("weight")).astype(np.float32)
        text = modality == "text"
        own = {"admit_padding": True, "token_terms": terms} if text else {}
        files[f"onnx/{modality}_head.onnx"] = head_graph(weight, bias, 6, text, RULE, **own).SerializeToString()
    files["heads.safetensors"] = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    for name, data in files.items():
        (folder / name).write_bytes(data)
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    manifest["image"] |= SIDE
    manifest["text"] |= SIDE | {"admit_padding": True, "keep_own_tokens": True}
    manifest["text"].pop("static", None)
    manifest |= {
        "format_version": 5,
        "vocab_size": len(tokens),
        "tokens": {"count": count},
        "suppressed_ids": suppressed,
        "placeholder_id": 0,
        "similarity": "dot",
        "top_k": {"image": 6, "text": 6},
    }
    (folder / "lexlip.json").write_text(json.dumps(manifest))
    assert onnx.load(folder / "onnx" / "text_head.onnx").ir_version == 10
    return folder


def by_hand(bundle: Bundle, tower: Tower, modality: str, inputs: Any, k: int) -> npt.NDArray[np.float64]:
    """(B, V): kept weights, 0 elsewhere."""
    if modality == "text":
        assert bundle.manifest.text is not None
        more = bundle.manifest.text.max_length - inputs["input_ids"].shape[1]
        inputs = {name: np.pad(value, ((0, 0), (0, more))) for name, value in inputs.items()}
    (hidden,) = tower.backbone(inputs)
    arrays = load((bundle.folder / "heads.safetensors").read_bytes())
    weight = arrays.get(f"{modality}.weight", arrays.get("weight")).astype(np.float64)
    logits = (hidden.astype(np.float64) @ weight.T).max(axis=1) + arrays[f"{modality}.bias"]
    weights = np.where(logits > 0, logits + 1, np.exp(np.minimum(logits, 0)))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    kept = np.zeros_like(weights, bool)
    np.put_along_axis(kept, np.argsort(-weights, axis=1)[:, :k], True, axis=1)
    if modality == "text":
        terms = bundle.token_terms()
        for row, (ids, mask) in enumerate(zip(inputs["input_ids"], inputs["attention_mask"], strict=True)):
            own = terms[ids[mask != 0]]
            kept[row, own[own >= 0]] = True
    return np.where(kept & (weights > 1e-30), weights, 0)


def model_inputs(encoder: LexLIPEncoder, modality: str) -> dict[str, Any]:
    if modality == "image":
        size = encoder.preprocess.size
        return {"pixel_values": np.random.default_rng(0).standard_normal((3, 3, size, size), dtype=np.float32)}
    ids, mask = encoder.tokenize(TEXTS)
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("head", ["native", "onnx"])
@pytest.mark.parametrize("top_k", [1, 6, 1000])
def test_every_head(folder: Path, modality: Any, head: str, top_k: int) -> None:
    encoder = LexLIPEncoder.from_pretrained(folder, threads=1)
    tower = open_tower(encoder.bundle, modality, RuntimeOptions("cpu", threads=1, head=head))
    inputs = model_inputs(encoder, modality)
    found = tower(inputs, top_k)
    found.validate()
    np.testing.assert_allclose(
        found.to_dense(), by_hand(encoder.bundle, tower, modality, inputs, top_k), rtol=1e-4, atol=1e-7
    )
    assert 40 not in found.indices, "suppressed"


def test_own_terms_outside_the_top_k(folder: Path) -> None:
    encoder = LexLIPEncoder.from_pretrained(folder, threads=1)
    found = encoder.encode_texts(TEXTS, top_k=1)
    terms = encoder.bundle.token_terms()
    rows = np.split(found.indices, found.indptr[1:-1])
    suppressed = set(encoder.manifest.suppressed_ids)
    for row, text in zip(rows, TEXTS, strict=True):
        own = {int(terms[i]) for i in encoder.tokenize([text])[0][0]} - {-1} - suppressed
        assert own <= set(row.tolist())
        assert len(row) in (len(own), len(own) + 1)
    assert max(map(len, rows)) > 2
    assert encoder.vocabulary.terms == tuple(
        LexLIPEncoder(Bundle(folder, encoder.manifest, "")).bundle.vocabulary().terms
    )


def test_padding_takes_part_and_so_batches_do_not_matter(folder: Path) -> None:
    encoder = LexLIPEncoder.from_pretrained(folder, threads=1)
    together = encoder.encode_texts(TEXTS)
    for number, text in enumerate(TEXTS):
        alone = encoder.encode_texts([text])
        np.testing.assert_array_equal(together[[number]].indices, alone.indices)
        np.testing.assert_allclose(together[[number]].values, alone.values, rtol=1e-5)
    manifest = encoder.manifest
    assert manifest.text is not None
    unpadded = manifest.model_copy(update={"text": manifest.text.model_copy(update={"admit_padding": False})})
    without = LexLIPEncoder(Bundle(folder, unpadded, ""), RuntimeOptions("cpu", threads=1, head="native"))
    assert not np.allclose(without.encode_texts(TEXTS).to_scipy().sum(), together.to_scipy().sum(), rtol=1e-4)


def test_merged_graph_keeps_own_terms(folder: Path) -> None:
    import onnx
    import onnxruntime

    encoder = LexLIPEncoder.from_pretrained(folder, threads=1)
    parts = [onnx.load(folder / "onnx" / f"text_{name}.onnx") for name in ("backbone", "head")]
    session = onnxruntime.InferenceSession(merged_graph(*parts).SerializeToString())
    assert encoder.manifest.text is not None
    ids, mask = encoder.tokenize(TEXTS)
    more = ((0, 0), (0, encoder.manifest.text.max_length - ids.shape[1]))
    ids, weights = session.run(None, {"input_ids": np.pad(ids, more), "attention_mask": np.pad(mask, more)})
    expected = encoder.encode_texts(TEXTS)
    found = type(expected).from_ranked(ids, weights, encoder.manifest.vocab_size)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4)


class TestTriton:
    """In Triton's interpreter where there is no GPU."""

    @pytest.fixture(autouse=True)
    def _runs_here(self) -> None:
        from lexlip_kernels.backends import triton_refusal

        if (refusal := triton_refusal("cpu")) is not None:
            pytest.skip(refusal)

    def test_both_kernels(self, folder: Path) -> None:
        import torch

        encoder = LexLIPEncoder.from_pretrained(folder, threads=1)
        tower = open_tower(encoder.bundle, "text", RuntimeOptions("cpu", threads=1))
        inputs = model_inputs(encoder, "text")
        expected = tower(inputs, 6).to_dense()
        triton = tower.with_parts(tower.backbone, TritonHead(encoder.bundle, "text", half=False, device="cpu"))
        np.testing.assert_allclose(triton(inputs, 6).to_dense(), expected, rtol=1e-4, atol=1e-6)
        arrays = load((folder / "heads.safetensors").read_bytes())
        weight, bias = arrays.get("text.weight", arrays.get("weight")).astype(np.float32), arrays["text.bias"]

        def logits(given: Any) -> list[Any]:
            return [torch.from_numpy(tower.backbone(given)[0] @ weight.T + bias)]

        topk = tower.with_parts(logits, TritonTopK(HeadContract.of(encoder.bundle, "text")))
        np.testing.assert_allclose(topk(inputs, 6).to_dense(), expected, rtol=1e-4, atol=1e-6)
