"""Compile every Triton kernel for sm_70, sm_80 and sm_90, as the ops would launch it; print one line of JSON.

A script, not a test: kernels cannot be compiled in a process that imported Triton as an interpreter. No GPU is
needed: ptxas comes with Triton. Each entry says which matrix instructions a kernel uses, and what it takes of
registers, stack and shared memory.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lexlip_kernels.launch_config import OPTIONS, choose_config, choose_pool, choose_select
from lexlip_kernels.lexicon_pool import triton_backward as backward
from lexlip_kernels.lexicon_pool import triton_kernel as decoder
from lexlip_kernels.lexicon_topk import triton_kernel as topk

TYPES = {"float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32"}


@dataclass
class Launch:
    """One kernel with the types it is called with."""

    name: str
    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    options: dict[str, int]


def decoder_launches(capability: tuple[int, int], dtype: str) -> Iterator[Launch]:
    config = choose_config(32, 197, 768, 30522, dtype, capability)
    for with_token in (False, True):
        types = dict.fromkeys(("hidden", "weight"), TYPES[dtype])
        types |= {"packed_tokens": "*i32", "packed_count": "*i32", "best": "*i64" if with_token else "*fp32"}
        types |= dict.fromkeys(("all_tokens", "tokens", "terms"), "i32")
        constants = {
            "HIDDEN": 768,
            "HAS_MASK": with_token,
            "WITH_TOKEN": with_token,
            "BLOCK_TOKENS": config.block_tokens,
            "BLOCK_TERMS": config.block_terms,
            "BLOCK_HIDDEN": config.block_hidden,
            "GROUP": config.group,
        }
        options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
        op = "lexicon_pool" if with_token else "lexicon_head"
        yield Launch(f"{op} {dtype}", decoder.decoder_kernel, types, constants, options)


def pool_launches(dtype: str) -> Iterator[Launch]:
    config = choose_pool(197, 30522, 4 if dtype == "float32" else 2)
    types = {"logits": TYPES[dtype], "mask": "*i8", "pooled": "*fp32", "tokens": "i32", "term_units": "i32"}
    types |= {"row_stride": "i64", "token_stride": "i64"}
    constants = {"HAS_MASK": True, "ALIGNMENT": 2}
    constants |= {"BLOCK_TOKENS": config.block_tokens, "BLOCK_TERMS": config.block_terms}
    yield Launch(f"pool {dtype}", topk.pool_kernel, types, constants, {"num_warps": config.num_warps})


def other_launches() -> Iterator[Launch]:
    select = choose_select(30522)
    types = {"values": "*fp32", "ids": "*i32", "bias": "*fp32", "kept_values": "*fp32", "kept_ids": "*i32"}
    types |= {"candidates": "i32", "row_stride": "i64", "k": "i32"}
    constants: dict[str, Any] = {"HAS_IDS": False, "HAS_BIAS": True, "BLOCK": select.block, "BLOCK_K": 256}
    yield Launch("select", topk.select_kernel, types, constants, {"num_warps": select.num_warps})
    types = {"values": "*fp32", "candidate_ids": "*i32", "ids": "*i64", "weights": "*fp32", "counts": "*i32"}
    yield Launch("rank", topk.rank_kernel, types | {"candidates": "i32", "k": "i32"}, {"BLOCK": 64}, {})
    types = {"best": "*i64", "bias": "*fp32", "output": "*fp32", "token": "*i16", "terms": "i32"}
    yield Launch("finish", decoder.finish_kernel, types, {"SATURATED": True, "BLOCK": 1024}, {})
    types = {"gradient": "*fp32", "token": "*i16", "hidden": "*fp16", "weight_gradient": "*fp16"}
    types |= dict.fromkeys(("batch", "tokens", "terms"), "i32")
    blocks = {"BLOCK_TERMS": 32, "BLOCK_HIDDEN": 128}
    yield Launch("weight gradient", backward.weight_kernel, types, {"HIDDEN": 768, **blocks}, {})
    types = {"gradient": "*fp32", "order": "*i32", "starts": "*i32", "weight": "*fp16", "hidden_gradient": "*fp16"}
    types |= dict.fromkeys(("tokens", "terms"), "i32")
    yield Launch("hidden gradient", backward.hidden_kernel, types, {"HIDDEN": 768, **blocks}, {})


def launches(capability: int) -> Iterator[Launch]:
    for dtype in TYPES:
        yield from decoder_launches(divmod(capability, 10), dtype)
        yield from pool_launches(dtype)
    yield from other_launches()


def resources(cubin: bytes) -> dict[str, int]:
    """Registers and bytes of stack (spilled registers among them) a thread, as the assembler assigned them."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "kernel.cubin"
        binary.write_bytes(cubin)
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(binary)]
        report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name.lower(): int(re.search(rf"{name}:(\d+)", report)[1]) for name in ("REG", "STACK")}


def compile_one(launch: Launch, capability: int) -> dict[str, Any]:
    names = launch.kernel.arg_names
    signature = {name: launch.types.get(name, "constexpr") for name in names}
    attributes = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n].startswith("*")}
    source = ASTSource(launch.kernel, signature, launch.constants, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=launch.options | OPTIONS)
    return {
        "kernel": launch.name,
        "capability": capability,
        "mma": "mma.sync" in compiled.asm["ptx"],
        "wgmma": "wgmma.mma_async" in compiled.asm["ptx"],
        "shared_bytes": compiled.metadata.shared,
        **resources(compiled.asm["cubin"]),
    }


def main() -> None:
    wanted = [int(argument) for argument in sys.argv[1:]] or [70, 80, 90]
    print(json.dumps([compile_one(launch, capability) for capability in wanted for launch in launches(capability)]))


if __name__ == "__main__":
    main()
