"""Training through a fused head, compiled or in Triton (a CPU interprets it), gives the losses of the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from tiny_pairs import pair_batch, tiny_config
from torch import Tensor

from lexlip_training import LexLIP
from lexlip_training.objectives import ObjectiveConfig, build_objective


def curve(kind: str, device: str) -> Tensor:
    torch.manual_seed(0)
    objective = build_objective(ObjectiveConfig(kind=kind, queue_size=8), LexLIP(tiny_config())).to(device)
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for step in range(4):
        batch = replace(pair_batch(4, step), pixels=pair_batch(4, step).pixels.float())
        loss = objective(batch.to(torch.device(device)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        objective.after_step()
        losses.append(loss.detach().cpu())
    return torch.stack(losses)


@pytest.mark.parametrize("backend", ["native", "triton"])
@pytest.mark.parametrize("kind", ["pretrain_lexicon", "momentum_contrast"])
def test_the_loss_curve_is_the_references(kind: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend == "triton":
        pytest.importorskip("triton", reason="Triton is not installed")
    curves = {}
    for chosen, device in (
        ("reference", "cpu"),
        (backend, "cuda" if backend == "triton" and Path("/dev/nvidiactl").exists() else "cpu"),
    ):
        choose = Mock(return_value=chosen)
        monkeypatch.setattr("lexlip_kernels.lexicon_pool._choose", choose)
        curves[chosen] = curve(kind, device)
        assert choose.called
    torch.testing.assert_close(curves[backend], curves["reference"], rtol=1e-4, atol=1e-4)
