"""The rate of a whole run, from files to a part file: the stages of `lexlip-encode`, overlapping as it lets them."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.inputs import open_inputs
from lexlip_infer.bench.settings import Job
from lexlip_infer.collection.manifest import RunSettings
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import InputError
from lexlip_infer.pipeline.devices import Devices, share_out
from lexlip_infer.pipeline.observer import Silent
from lexlip_infer.pipeline.run import encode_collection
from lexlip_infer.pipeline.stages import PipelineOptions

__all__ = ["Pipelined", "run_pipelined", "run_settings_of"]


class Pipelined(BaseModel):
    """What a run took.

    Attributes:
        wall_seconds: from the first file to the last byte on the disk; loading the model is not inside.
        items: that were encoded.
        lanes: batches that were inferred at the same time.
    """

    model_config = ConfigDict(frozen=True)

    wall_seconds: float
    items: int
    lanes: int


def run_pipelined(job: Job, folder: Path) -> Pipelined:
    """Measure a job, after a small run that loads what the first batch loads.

    Args:
        job: what.
        folder: empty, for the outputs.

    Raises:
        LexLIPError: the model cannot run so, or an input cannot be encoded.
    """
    encoder = LexLIPEncoder(LexLIPEncoder.from_pretrained(job.model).bundle, job.setting.options)
    devices = share_out([encoder], job.setting.modality)
    _encode(devices, job, devices.lanes * job.setting.batch_size, folder / "warm")
    wall = _encode(devices, job, job.items, folder / "out")
    return Pipelined(wall_seconds=wall, items=job.items, lanes=devices.lanes)


def _encode(devices: Devices, job: Job, count: int, output: Path) -> float:
    reader = open_inputs(job.setting.modality, job.inputs, count)
    settings = run_settings_of(devices, job.setting.modality, job.inputs)
    options = PipelineOptions(job.setting.batch_size, devices.lanes, devices.threads)
    started = time.perf_counter()
    manifest = encode_collection(devices.encoders, reader, output, settings, options, Silent())
    wall = time.perf_counter() - started
    if manifest.failed:
        raise InputError(
            f"{job.inputs}: inputs that cannot be encoded: {manifest.failed}; measure without them: "
            "lexlip-encode lists them"
        )
    return wall


def run_settings_of(devices: Devices, modality: str, source: Path) -> RunSettings:
    """As `lexlip-encode` chooses them when nothing is said."""
    encoder, path = devices.encoders[0], devices.path
    manifest = encoder.manifest
    values = {
        "modality": modality,
        "source": str(source),
        "model": None,
        "model_name": manifest.name,
        "model_fingerprint": encoder.bundle.fingerprint,
        "top_k": min(getattr(manifest.top_k, modality), manifest.vocab_size),
        "scale": manifest.quantisation.scale,
        "cap": manifest.quantisation.cap,
        "normalise": manifest.similarity == "cosine",
        "items_per_shard": 5000,
        "device": path.device.partition(":")[0],
        "backend": path.backend,
        "precision": path.precision,
        "head": path.head,
    }
    return RunSettings.model_validate(values)
