"""Training through the fused head gives the losses of the reference: Triton's kernels, in its interpreter on a CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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


@pytest.mark.parametrize("kind", ["pretrain_lexicon", "momentum_contrast"])
def test_the_loss_curve_is_the_references(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    calls = []

    def choose(hidden: Tensor, backend: str) -> bool:
        calls.append(backend)
        return True

    expected = curve(kind, "cpu")
    monkeypatch.setattr("lexlip_kernels.lexicon_pool._triton_is_chosen", choose)
    found = curve(kind, "cuda" if Path("/dev/nvidiactl").exists() else "cpu")
    assert calls
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
