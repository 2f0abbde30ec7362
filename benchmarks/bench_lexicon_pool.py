"""What does lexicon_pool cost in training on a CPU, native against the reference?

Run `python benchmarks/bench_lexicon_pool.py`. Random states and decoder, every maximum with a gradient (the worst case:
after saturation most terms have none). Before anything is timed, both have to agree. The floor is the product with the
decoder alone, without maxima or gradients. All take turns.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from harness import finish, machine, options, seconds_in_turn, spread

from lexlip_kernels.lexicon_pool import max_logits

#: B, L, H, V: a batch of images and of captions of a small model.
SHAPES = {"images": (128, 29, 256, 11000), "captions": (256, 14, 256, 11000)}


def problem(batch: int, tokens: int, hidden: int, terms: int) -> list[torch.Tensor]:
    """Hidden states, decoder and bias, which have gradients."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((batch, tokens, hidden), (terms, hidden), (terms,))
    states, weight, bias = (torch.randn(size, generator=generator) for size in sizes)
    return [tensor.requires_grad_() for tensor in (states, weight * hidden**-0.5, bias)]


def step(tensors: list[torch.Tensor], dtype: torch.dtype, backend: Any, backward: bool) -> None:
    """A forward pass as training runs it, and a backward pass behind it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = max_logits(*tensors, backend=backend)
    if backward:
        torch.autograd.grad(output.float().square().sum(), tensors)


def main() -> None:
    """Check, time, write."""
    parser = options("Time lexicon_pool on a CPU.", "lexicon_pool_cpu.json")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report: dict[str, Any] = {
        "benchmark": "lexicon_pool_cpu",
        "threads": arguments.threads,
        "machine": machine("torch"),
    }
    report["results"] = []
    for name, shape in SHAPES.items():
        tensors = problem(*shape)
        torch.testing.assert_close(*(max_logits(*tensors, backend=way) for way in ("native", "reference")))
        for dtype in (torch.float32, torch.bfloat16):
            states, weight = (tensor.detach().to(dtype) for tensor in tensors[:2])
            work = {
                f"{way}, {part}": partial(step, tensors, dtype, way, part != "forward")
                for part in ("forward", "forward and backward")
                for way in ("native", "reference")
            } | {"product alone": partial(torch.matmul, states, weight.T)}
            for way, seconds in seconds_in_turn(work, arguments.rounds).items():
                row = {"shape": name, "dtype": str(dtype).removeprefix("torch."), "what": way}
                report["results"].append(row | spread(seconds, 1, "step"))
                print(*report["results"][-1].values(), sep="\t")
    finish(report, arguments.output)


if __name__ == "__main__":
    main()
