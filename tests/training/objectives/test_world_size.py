"""Two processes give the trajectory of one: losses, figures, weights, momentum weights and queue."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import world_process
from tiny_pairs import pair_batch, part_of
from torch import Tensor

PROCESS = Path(__file__).parent / "world_process.py"
TOLERANCE = 1e-5


def start(rank: int, folder: Path) -> subprocess.Popen[str]:
    arguments = [str(rank), "2", str(folder / "rendezvous"), str(folder / "two.pt")]
    command = [sys.executable, "-W", "error::UserWarning:torch", str(PROCESS), *arguments]
    paths = [str(PROCESS.parent), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of this process alone, and of rank 0 of two."""
    folder = tmp_path_factory.mktemp("world")
    processes = [start(rank, folder) for rank in (0, 1)]
    one = world_process.results(rank=0, world=1)
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return one, torch.load(folder / "two.pt", weights_only=True)


@pytest.mark.parametrize("kind", ["pretrain_lexicon", "momentum_contrast"])
def test_two_processes_equal_one_over_50_steps(kind: str, results: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    one, two = results
    names = [name for name in one if name.startswith(f"{kind}.")]
    assert set(names) == {name for name in two if name.startswith(f"{kind}.")}
    for name in names:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=TOLERANCE, msg=name)
    losses = one[f"{kind}.figures"][:, 0]
    assert len(losses) == 50
    assert losses.isfinite().all()


def test_pretraining_learns(results: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    losses = results[0]["pretrain_lexicon.figures"][:, 0]
    assert losses[-10:].mean() < losses[:10].mean()


def test_official_gather_divides_the_contrast_by_the_number_of_processes(
    results: tuple[dict[str, Tensor], dict[str, Tensor]],
) -> None:
    one, two = results
    torch.testing.assert_close(two["true"], one["true"])
    torch.testing.assert_close(two["official"], one["true"] / 2)
    torch.testing.assert_close(one["official"], one["true"])


def test_local_counts_average_the_processes_own_means(results: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    one, two = results
    batch = pair_batch(world_process.ROWS, seed=0)
    halves = [world_process.local_counts_gradient(1, part_of(batch, rank, 2)) for rank in (0, 1)]
    torch.testing.assert_close(two["local"], (halves[0] + halves[1]) / 2)
    assert not torch.allclose(two["local"], one["local"])
