"""Numbers and devices of a run, through Accelerate: one process or many, half precision with loss scaling or not."""

from __future__ import annotations

import warnings

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from lexlip_kernels.errors import BackendUnavailable
from lexlip_training.engine.settings import RunSettings

__all__ = ["make_accelerator", "weights_dtype"]

_MIXED = {"fp16": "fp16", "bf16": "bf16", "f32": "no", "f64": "no"}


def make_accelerator(run: RunSettings, accumulation: int) -> Accelerator:
    """The processes of this run as `accelerate launch` or `torchrun` started them; alone otherwise.

    Buffers are never broadcast: a queue is large, and the same everywhere by construction.

    Raises:
        BackendUnavailable: fp16 without a GPU.
    """
    cpu = run.device == "cpu" or not torch.cuda.is_available()
    if cpu and run.precision == "fp16":
        raise BackendUnavailable("run.precision 'fp16' needs a GPU and none is used; --set run.precision=bf16 or f32")
    kwargs = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        return Accelerator(
            cpu=cpu,
            mixed_precision=_MIXED[run.precision],
            gradient_accumulation_steps=accumulation,
            kwargs_handlers=[kwargs],
        )


def weights_dtype(run: RunSettings) -> torch.dtype:
    """What weights, gradients and moments are stored in; half precision is autocast's, never theirs."""
    return torch.float64 if run.precision == "f64" else torch.float32
