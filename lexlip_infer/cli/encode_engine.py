"""`lexlip-encode --engine`: what goes with Ray and what does not, and the plan for its actors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lexlip_infer.cli.encode_report import STREAM
from lexlip_infer.collection.manifest import RunSettings
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.readers.specs import STDIN
from lexlip_infer.pipeline.devices import Devices
from lexlip_infer.pipeline.ray_engine import RayOptions
from lexlip_infer.pipeline.ray_workers import WorkerPlan
from lexlip_infer.pipeline.stages import PipelineOptions
from lexlip_infer.runtime.choice import RuntimeOptions

__all__ = ["ray_options", "worker_plan"]


def ray_options(
    engine: str, address: str | None, actors: int | None, source: Sequence[str], output: Path, device: str
) -> RayOptions | None:
    """Where to run on Ray, or nothing where it was not asked for.

    Raises:
        InputError: no such engine, or an option that does not go with it.
    """
    if engine == "local":
        for option, value in (("--address", address), ("--ray-actors", actors)):
            if value is not None:
                raise InputError(f"{option} goes with --engine ray; leave it out")
        return None
    if engine != "ray":
        raise InputError(f"--engine is {engine!r}; expected local or ray")
    if STDIN in source:
        raise InputError("--engine ray reads in a process of its own, which has no stdin; put the list into a file")
    if output == STREAM:
        raise InputError("--engine ray writes into a folder, not to stdout; name one")
    if ":" in device or "," in device:
        raise InputError(f"--device is {device!r}; Ray gives every actor a GPU of its own: use cuda with --engine ray")
    return RayOptions(address, actors)


def worker_plan(
    devices: Devices, runtime: RuntimeOptions, settings: RunSettings, options: PipelineOptions
) -> WorkerPlan:
    """Actors take the path that was chosen here, or refuse: another one would round in another way."""
    path = devices.path
    chosen = replace(
        runtime,
        device=settings.device,
        precision=path.precision,
        backend=path.backend,
        head=path.head,
        threads=devices.threads,
    )
    return WorkerPlan(chosen, settings, options)
