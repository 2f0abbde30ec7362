"""How close are the Triton ops to what the GPU can do?

Run `python benchmarks/bench_triton_ops.py` on a machine with an NVIDIA GPU. Before anything is timed, every op has to
agree with its reference. Compared are torch eager, torch.compile, the bare matrix product alone (the least any head
has to do) and a plain copy in device memory (the most any pass over logits can reach). Inputs are random: this says
something about speed on these shapes, nothing about retrieval quality.

Times are medians of `triton.testing.do_bench`, which empties the L2 cache between runs; memory is the peak above what
the inputs take. A table comes first, one line of JSON last; the same JSON goes to `--output`.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import RESULTS, Report, finish, options

from lexlip_kernels.lexicon_head import TensorDecoder, lexicon_head
from lexlip_kernels.lexicon_pool import lexicon_pool, reference
from lexlip_kernels.lexicon_topk import lexicon_topk
from lexlip_kernels.lexicon_topk import reference as topk_reference

if TYPE_CHECKING:
    import torch

Row = dict[str, Any]
Engines = dict[str, Callable[[], object]]

TOKENS, WIDTH, VOCAB_SIZE, TOP_K = 197, 768, 30522, 256


def refuse() -> str | None:
    """Why this machine cannot run the benchmark, if it cannot."""
    if find_spec("torch") is None or find_spec("triton") is None:
        return "torch and Triton are needed: pip install 'lexlip-infer[triton]'"
    import torch

    return None if torch.cuda.is_available() else "no NVIDIA GPU is visible to torch; nothing was measured"


def machine() -> Report:
    """What the figures depend on besides the code."""
    import torch
    import triton

    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": triton.__version__,
    }


def inputs(batch: int, dtype: torch.dtype, bias: float = -2.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden (B, L, H) as after a LayerNorm, weight (V, H), bias (V,).

    At the default bias about three terms in a hundred fire, as in a trained model; at 0 practically all do.
    """
    import torch

    generator = torch.Generator("cuda").manual_seed(0)
    hidden = torch.randn(batch, TOKENS, WIDTH, device="cuda", generator=generator)
    weight = torch.randn(VOCAB_SIZE, WIDTH, device="cuda", generator=generator) * 0.02
    return hidden.to(dtype), weight.to(dtype), torch.full((VOCAB_SIZE,), bias, device="cuda")


def milliseconds(call: Callable[[], object]) -> Row:
    """Median, tenth and ninetieth percentile of the time of one call."""
    from triton.testing import do_bench

    median, fast, slow = do_bench(call, warmup=100, rep=500, quantiles=[0.5, 0.1, 0.9])
    return {"median_ms": round(median, 4), "p10_ms": round(fast, 4), "p90_ms": round(slow, 4)}


def peak_mib(call: Callable[[], object]) -> float:
    """Device memory of one call above what was allocated before it, in MiB; its result counts."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = call()
    torch.cuda.synchronize()
    del result
    return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)


def measure(op: str, batch: int, dtype: torch.dtype, engines: Engines) -> Iterator[Row]:
    """One row an engine; called once beforehand, so that compiling is not measured."""
    for engine, call in engines.items():
        call()
        shape = {"op": op, "engine": engine, "batch": batch, "dtype": str(dtype).removeprefix("torch.")}
        yield {**shape, **milliseconds(call), "peak_mib": peak_mib(call)}


def head(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Ours."""
    return lexicon_head(hidden, TensorDecoder(weight, bias), k=TOP_K, backend="triton")


def check(dtype: torch.dtype) -> None:
    """Every op against its reference in float64, on a batch that is small enough for it."""
    import torch

    tensors = inputs(3, dtype)
    wanted = reference.lexicon_pool(*(tensor.double() for tensor in tensors))
    torch.testing.assert_close(lexicon_pool(*tensors).double(), wanted, rtol=1e-4, atol=1e-4)
    ids, weights, counts = head(*tensors)
    best = wanted.topk(TOP_K).values
    torch.testing.assert_close(weights.double(), best, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(wanted.gather(1, ids.long()), best, rtol=1e-4, atol=1e-4)
    assert (counts == TOP_K).all()
    logits = tensors[0] @ tensors[1].T
    for found, expected in zip(lexicon_topk(logits, TOP_K), topk_reference.lexicon_topk(logits, TOP_K), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def eager_head(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> object:
    """What one writes without a kernel: the product, the maximum, the bias, torch's own top-k."""
    ranked = reference.max_logits(hidden, weight, bias).topk(TOP_K)
    return reference.saturate(ranked.values), ranked.indices


def head_rows(batch: int, dtype: torch.dtype) -> Iterator[Row]:
    """lexicon_head against eager, torch.compile and the bare product."""
    import torch

    tensors = hidden, weight, _ = inputs(batch, dtype)
    engines: Engines = {
        "triton": partial(head, *tensors),
        "bare product": partial(torch.nn.functional.linear, hidden, weight),
        "torch eager": partial(eager_head, *tensors),
        "torch.compile": partial(torch.compile(eager_head), *tensors),
    }
    with torch.no_grad():
        yield from measure("lexicon_head", batch, dtype, engines)


def eager_topk(logits: torch.Tensor) -> object:
    """Pooling, torch's own top-k and saturation, from logits that exist."""
    ranked = logits.amax(1).topk(TOP_K)
    return reference.saturate(ranked.values), ranked.indices


def topk_rows(batch: int, dtype: torch.dtype) -> Iterator[Row]:
    """lexicon_topk against eager and torch.compile, with the bytes it reads a second."""
    import torch

    logits = torch.randn(batch, TOKENS, VOCAB_SIZE, device="cuda", dtype=dtype)
    engines: Engines = {
        "triton": partial(lexicon_topk, logits, TOP_K),
        "torch eager": partial(eager_topk, logits),
        "torch.compile": partial(torch.compile(eager_topk), logits),
    }
    for row in measure("lexicon_topk", batch, dtype, engines):
        yield {**row, "read_gb_per_s": round(logits.nbytes / row["median_ms"] / 1e6)}


def forward_and_backward(op: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> object:
    """The gradients of all three inputs for a gradient of ones."""
    import torch

    return torch.autograd.grad(op(*tensors).sum(), tensors)


def pool_rows(batch: int, dtype: torch.dtype, bias: float) -> Iterator[Row]:
    """lexicon_pool, forward and backward, against eager and torch.compile; the bias decides how many terms fire."""
    import torch

    leaves = [tensor.requires_grad_() for tensor in inputs(batch, dtype, bias)]
    firing = round(float((lexicon_pool(*inputs(batch, dtype, bias)) > 0).double().mean()), 3)
    ops: dict[str, Callable[..., torch.Tensor]] = {
        "triton": partial(lexicon_pool, backend="triton"),
        "torch eager": reference.lexicon_pool,
        "torch.compile": torch.compile(reference.lexicon_pool),
    }
    engines: Engines = {engine: partial(forward_and_backward, op, leaves) for engine, op in ops.items()}
    for row in measure("lexicon_pool forward and backward", batch, dtype, engines):
        yield {**row, "terms_firing": firing}


def copy_gb_per_s() -> int:
    """Bytes read and written a second by a copy of 2 GiB in device memory."""
    import torch

    source = torch.zeros(2**31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    median: float = milliseconds(lambda: target.copy_(source))["median_ms"]
    return round(2 * source.nbytes / median / 1e6)


def measure_all(dtype: torch.dtype) -> Report:
    """All rows; each op at the shapes its target names."""
    rows = [row for batch in (32, 256) for row in head_rows(batch, dtype)]
    rows += topk_rows(64, dtype)
    rows += [row for bias in (-2.0, 0.0) for batch in (32, 256) for row in pool_rows(batch, dtype, bias)]
    return {"copy_gb_per_s": copy_gb_per_s(), "results": rows}


def print_table(report: Report) -> None:
    """The figures for a person; `x triton` is how many times longer another engine takes."""
    print(f"{report['machine']['gpu']}, L {TOKENS}, H {WIDTH}, V {VOCAB_SIZE}, k {TOP_K}; results checked")
    print(f"copy in device memory: {report['copy_gb_per_s']} GB/s\n")
    print(f"{'op':34} {'B':>4} {'engine':14} {'median ms':>10} {'p90':>9} {'x triton':>9}", end=" ")
    print(f"{'peak MiB':>9} {'GB/s read':>10} {'firing':>7}")
    ours = 1.0
    for row in report["results"]:
        ours = row["median_ms"] if row["engine"] == "triton" else ours
        times = f"{row['median_ms']:10.3f} {row['p90_ms']:9.3f} {row['median_ms'] / ours:9.2f}"
        tail = f"{row['peak_mib']:9.1f} {row.get('read_gb_per_s', ''):>10} {row.get('terms_firing', ''):>7}"
        print(f"{row['op']:34} {row['batch']:4} {row['engine']:14} {times} {tail}")


def main() -> None:
    """Check, time, print, write."""
    parser = options("Time the Triton ops on random data.")
    parser.add_argument("--dtype", choices=("float16", "bfloat16"), default="float16")
    parser.add_argument("--output", type=Path, help="default: results/triton_ops_<gpu>.json beside this file")
    parser.add_argument("--if-possible", action="store_true", help="without a GPU say so and succeed")
    arguments = parser.parse_args()
    if reason := refuse():
        print(f"bench_triton_ops: {reason}", file=sys.stderr)
        sys.exit(0 if arguments.if_possible else 2)
    import torch

    dtype = getattr(torch, arguments.dtype)
    check(dtype)
    shape = {"tokens": TOKENS, "hidden_size": WIDTH, "vocab_size": VOCAB_SIZE, "k": TOP_K, "dtype": arguments.dtype}
    report = {"benchmark": "triton_ops", "data": "random", **shape, "machine": machine(), **measure_all(dtype)}
    print_table(report)
    gpu = re.sub(r"[^a-z0-9]+", "_", report["machine"]["gpu"].lower()).strip("_")
    finish(report, arguments.output or RESULTS / f"triton_ops_{gpu}.json")


if __name__ == "__main__":
    main()
