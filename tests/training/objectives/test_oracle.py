"""Parity with the original code: every loss and every gradient it left behind, from the same weights and inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lexlip_export.official.checkpoint import load_official
from lexlip_export.official.names import beit_names, bert_names, head_names
from lexlip_training import LexLIP
from lexlip_training.data.batch import MaskedText, PairBatch
from lexlip_training.objectives import ObjectiveConfig, build_objective
from lexlip_training.objectives.momentum import MomentumContrast
from lexlip_training.objectives.pretrain import PretrainLexicon, lexicon_bottleneck

Arrays = dict[str, Any]

#: Of README.txt of the fixtures, section 4.
TOLERANCES = {"self": 2e-5, "i2t": 2e-5, "t2t": 2e-5, "contrastive": 1e-5, "flops": 1e-7, "total": 5e-5}
MOMENTUM_TOLERANCES = {"contrastive": 1e-5, "flops": 1e-7, "total": 1e-5}


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    return data / "oracle"


@pytest.fixture(scope="module")
def arrays(folder: Path) -> Arrays:
    with np.load(folder / "oracle.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def pairs(arrays: Arrays) -> PairBatch:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind in "if"}
    return PairBatch(
        tensors["pixel_values"],
        tensors["input_ids"][:3],
        tensors["attention_mask"][:3],
        torch.arange(3),
        torch.arange(3),
        MaskedText(tensors["enc_ids_mlm"], tensors["enc_labels_mlm"]),
        MaskedText(tensors["dec_ids_mlm"], tensors["dec_labels_mlm"]),
    )


@pytest.fixture(scope="module")
def pretraining(folder: Path, pairs: PairBatch) -> tuple[PretrainLexicon, dict[str, Tensor]]:
    checkpoint = folder / "checkpoint_phase1.ckpt"
    objective = build_objective(ObjectiveConfig(kind="pretrain_lexicon"), load_official(checkpoint)[0])
    assert isinstance(objective, PretrainLexicon)
    assert objective.decoder is not None
    prefix = "text_transformer.decoder_heads."
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    layers = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    objective.decoder.layers.load_state_dict(layers)
    return objective, _step(objective, pairs)


@pytest.fixture(scope="module")
def momentum(
    folder: Path, arrays: Arrays, pairs: PairBatch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[MomentumContrast, dict[str, Tensor]]:
    checkpoint = folder / "checkpoint_phase2.ckpt"
    settings = ObjectiveConfig(kind="momentum_contrast", queue_size=32, storage="dense")
    objective = build_objective(settings, load_official(checkpoint)[0])
    assert isinstance(objective, MomentumContrast)
    keys = _momentum_copy(checkpoint, tmp_path_factory.mktemp("moco") / "keys.ckpt")
    objective.key_model.load_state_dict(keys.state_dict())
    queue = objective.queue
    queues = [torch.from_numpy(arrays[f"{side}_queue"].T.copy()) for side in ("image", "text")]
    queue.push(queue.images.pack(queues[0]), queue.texts.pack(queues[1]), torch.arange(32) + 1000)
    return objective, _step(objective, pairs)


def _momentum_copy(checkpoint: Path, path: Path) -> LexLIP:
    """The momentum encoders, read as if they were the online ones."""
    content = torch.load(checkpoint, weights_only=True)
    state = content["state_dict"]
    state |= {name.removeprefix("moco_"): value for name, value in state.items() if name.startswith("moco_")}
    torch.save(content, path)
    return load_official(path)[0]


def _step(objective: torch.nn.Module, pairs: PairBatch) -> dict[str, Tensor]:
    figures: dict[str, Tensor] = objective.eval()(pairs)
    figures["loss"].backward()
    return {name: figure.detach() for name, figure in figures.items()}


def _terms(figures: dict[str, Tensor]) -> dict[str, float]:
    named = {name: float(figures[name]) for name in ("self", "i2t", "t2t") if name in figures}
    scaled = {"contrastive": float(figures["contrast"]), "flops": 0.002 * float(figures["flops"])}
    return named | scaled | {"total": float(figures["loss"])}


@pytest.mark.parametrize("term", TOLERANCES)
def test_phase_1_losses(term: str, pretraining: tuple[PretrainLexicon, dict[str, Tensor]], arrays: Arrays) -> None:
    found = _terms(pretraining[1])[term]
    assert found == pytest.approx(float(arrays[f"p1_loss_{term}"]), abs=TOLERANCES[term], rel=0)


@pytest.mark.parametrize("term", MOMENTUM_TOLERANCES)
def test_phase_2_losses(term: str, momentum: tuple[MomentumContrast, dict[str, Tensor]], arrays: Arrays) -> None:
    found = _terms(momentum[1])[term]
    assert found == pytest.approx(float(arrays[f"p2_loss_{term}"]), abs=MOMENTUM_TOLERANCES[term], rel=0)


def test_bottlenecks_and_decoder(
    pretraining: tuple[PretrainLexicon, dict[str, Tensor]], arrays: Arrays, pairs: PairBatch
) -> None:
    objective = pretraining[0]
    table = objective.model.text_tower.word_embeddings
    assert pairs.decoder_masked is not None
    for side, decoded in (("image", "i2t"), ("text", "t2t")):
        logits = arrays["image_max_logits"]
        if side == "text":
            hidden = np.where(pairs.attention_mask[..., None] == 1, arrays["enc_logits_mlm"], -np.inf)
            logits = hidden.max(axis=1)
        bottleneck = lexicon_bottleneck(torch.from_numpy(logits), table)
        np.testing.assert_allclose(bottleneck.detach(), arrays[f"{side}_bottleneck"], atol=3e-6, rtol=0)
        with torch.no_grad():
            hidden = objective._decoded(objective.decoder, pairs.decoder_masked, pairs.attention_mask, bottleneck)
            head = objective.model.text_head
            found = (hidden @ head.weight.T + head.bias).numpy()
        real = pairs.attention_mask.numpy() == 1
        np.testing.assert_allclose(found[real], arrays[f"dec_logits_{decoded}"][real], atol=1e-4, rtol=0)


def test_momentum_keys(momentum: tuple[MomentumContrast, dict[str, Tensor]], arrays: Arrays, pairs: PairBatch) -> None:
    for found, side in zip(momentum[0].encode_keys(pairs), ("image", "text"), strict=True):
        lexicon = arrays[f"moco_{side}_lexicon"]
        expected = lexicon / np.linalg.norm(lexicon, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=5e-6, rtol=0)


def test_phase_1_gradients(pretraining: tuple[PretrainLexicon, dict[str, Tensor]], arrays: Arrays) -> None:
    objective = pretraining[0]
    gradients = _official_gradients(objective.model)
    assert objective.decoder is not None
    for name, parameter in objective.decoder.layers.named_parameters():
        gradients[f"text_transformer.decoder_heads.{name}"] = parameter.grad
    _assert_gradients(gradients, arrays, "p1")
    expected = arrays["p1_grad_word_embeddings"]
    found = objective.model.text_tower.word_embeddings.grad
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max(), rtol=0)
    untouched = (expected == 0).all(axis=1)
    assert untouched.sum() > 100
    assert not found[torch.from_numpy(untouched)].any()


def test_phase_2_gradients(momentum: tuple[MomentumContrast, dict[str, Tensor]], arrays: Arrays) -> None:
    objective = momentum[0]
    _assert_gradients(_official_gradients(objective.model), arrays, "p2")
    assert all(parameter.grad is None for parameter in objective.key_model.parameters())


def _official_gradients(model: LexLIP) -> dict[str, Tensor]:
    """Gradients by official name; timm's joint matrix of query, key and value is taken apart."""
    names = {**beit_names(2, "image_transformer.beit."), **bert_names(2, "text_transformer.bert.")}
    names |= {f"image_tower.norm.{kind}": (f"image_transformer.layernorm.{kind}",) for kind in ("weight", "bias")}
    names |= {
        **head_names("text", "text_transformer.cls.predictions."),
        **head_names("image", "mlm_head_for_image.predictions."),
    }
    gradients: dict[str, Tensor] = {}
    for ours, parameter in model.named_parameters():
        assert parameter.grad is not None, ours
        parts = parameter.grad.chunk(len(names[ours]))
        gradients |= dict(zip(names[ours], parts, strict=True))
    return gradients


def _assert_gradients(gradients: dict[str, Tensor], arrays: Arrays, phase: str) -> None:
    assert set(gradients) == set(arrays[f"{phase}_grad_names"])
    expected = zip(arrays[f"{phase}_grad_names"], arrays[f"{phase}_grad_l2"], arrays[f"{phase}_grad_proj"], strict=True)
    for name, length, projection in expected:
        flat = gradients[name].double().flatten()
        tolerance = 1e-3 * length + 1e-5
        assert float(flat.norm()) == pytest.approx(length, abs=tolerance), name
        waves = torch.sin(torch.arange(1, len(flat) + 1, dtype=torch.float64))
        assert float(flat @ waves) == pytest.approx(projection, abs=tolerance), name
