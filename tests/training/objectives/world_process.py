"""One of W processes that train the tiny model side by side: `python world_process.py RANK WORLD RENDEZVOUS OUTPUT`.

Saves losses and final weights of 50 steps of each phase, and gradients of a first step under the official options.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.distributed as dist
from tiny_pairs import pair_batch, part_of, tiny_config
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lexlip_training import LexLIP
from lexlip_training.data.batch import PairBatch
from lexlip_training.objectives import ObjectiveConfig, build_objective

STEPS, ROWS = 50, 4


def wrapped(world: int, **settings: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    config = ObjectiveConfig.model_validate({"queue_size": 10, "queue_top_k": 30, **settings})
    objective = build_objective(config, LexLIP(tiny_config()).double()).train()
    if config.kind == "pretrain_lexicon":
        objective.double()  # the decoder; a queue keeps its float16
    if world == 1:
        return objective
    return DistributedDataParallel(objective, broadcast_buffers=False)


def trajectory(rank: int, world: int, kind: str) -> dict[str, Tensor]:
    module = wrapped(world, kind=kind)
    objective = module if world == 1 else module.module
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=3e-3)
    logs = []
    for step in range(STEPS):
        figures = module(part_of(pair_batch(ROWS, seed=step), rank, world))
        optimizer.zero_grad()
        figures["loss"].backward()
        optimizer.step()
        objective.after_step()
        logs.append(torch.stack([figure.detach() for figure in figures.values()]))
    state = {f"{kind}.{name}": value for name, value in objective.state_dict().items()}
    return {f"{kind}.figures": torch.stack(logs)} | state


def first_gradient(rank: int, world: int, **settings: Any) -> Tensor:
    module = wrapped(world, kind="pretrain_lexicon", decoder_disabled=True, flops_weight=0.0, **settings)
    objective = module if world == 1 else module.module
    module(part_of(pair_batch(ROWS, seed=0), rank, world))["loss"].backward()
    # Masked-token losses do not reach the image tower, so what is here comes from the contrast alone.
    gradient = objective.model.image_head.dense.weight.grad
    assert gradient is not None
    return gradient


def local_counts_gradient(world: int, batch: PairBatch) -> Tensor:
    """Of a weight that only masked-token losses reach."""
    module = wrapped(world, kind="pretrain_lexicon", counts="local")
    objective = module if world == 1 else module.module
    module(batch)["loss"].backward()
    gradient = objective.decoder.layers[0].output.dense.weight.grad
    assert gradient is not None
    return gradient


def results(rank: int, world: int) -> dict[str, Tensor]:
    return {
        **trajectory(rank, world, "pretrain_lexicon"),
        **trajectory(rank, world, "momentum_contrast"),
        "true": first_gradient(rank, world),
        "official": first_gradient(rank, world, gather="official"),
        "local": local_counts_gradient(world, part_of(pair_batch(ROWS, seed=0), rank, world)),
    }


def main(rank: int, world: int, rendezvous: str, output: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    found = results(rank, world)
    if rank == 0:
        torch.save(found, output)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
