"""From the options of `lexlip-encode`, and what the model has for a default, to the settings of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lexlip_infer.bundle import Modality
from lexlip_infer.collection.manifest import RunSettings
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import QuantisationSettings
from lexlip_infer.inputs.image_options import ImageOptions
from lexlip_infer.inputs.images import load_image
from lexlip_infer.pipeline.devices import Devices
from lexlip_infer.pipeline.stages import PipelineOptions

__all__ = ["Choices", "pipeline_options", "run_settings"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user chose of the settings; absent is the model's default.

    Attributes:
        top_k: terms to keep.
        scale: of the quantiser.
        items_per_shard: inputs that make one part file.
        compress: "none" or "gz".
        shard_id: which of the runs that share the input this is.
        shard_num: how many they are.
        decoding: of images.

    Raises:
        InputError: a compression that is not to be had, or no such run among the runs.
    """

    top_k: int | None
    scale: float | None
    items_per_shard: int
    compress: str
    shard_id: int
    shard_num: int
    decoding: ImageOptions

    def __post_init__(self) -> None:
        if self.compress in ("zst", "zstd"):
            raise InputError("--compress zst: Anserini reads plain and gzip files, no Zstandard; use gz")
        if self.compress not in ("none", "gz"):
            raise InputError(f"--compress is {self.compress!r}; expected none or gz")
        if self.shard_id >= self.shard_num:
            raise InputError(
                f"--shard-id is {self.shard_id} of --shard-num {self.shard_num}; "
                f"expected 0 to {self.shard_num - 1}, one for each run"
            )


def run_settings(
    devices: Devices, modality: Modality, source: Sequence[str], model: str | None, choices: Choices
) -> RunSettings:
    """Settings of a run.

    Args:
        devices: with the model.
        modality: what is encoded.
        source: as it was given.
        model: as it was given.
        choices: see there.

    Raises:
        InputError: the scale is out of range.
    """
    encoder, path = devices.encoders[0], devices.path
    manifest = encoder.manifest
    default_k = manifest.top_k.image if modality == "image" else manifest.top_k.text
    scale = manifest.quantisation.scale if choices.scale is None else choices.scale
    quantisation = QuantisationSettings(scale, manifest.quantisation.cap, manifest.similarity == "cosine")
    decoding = choices.decoding
    return RunSettings.model_validate(
        {
            "modality": modality,
            "source": " ".join(_absolute(spec) for spec in source),
            "model": _absolute(model) if model is not None and Path(model).exists() else model,
            "model_name": manifest.name,
            "model_fingerprint": encoder.bundle.fingerprint,
            "top_k": min(default_k if choices.top_k is None else choices.top_k, manifest.vocab_size),
            "scale": quantisation.scale,
            "cap": quantisation.cap,
            "normalise": quantisation.normalise,
            "items_per_shard": choices.items_per_shard,
            "compress": choices.compress,
            "shard_id": choices.shard_id,
            "shard_num": choices.shard_num,
            "background": decoding.background,
            "frames": decoding.frames,
            "truncated": decoding.truncated,
            "max_megapixels": decoding.max_megapixels,
            "device": path.device.partition(":")[0],
            "backend": path.backend,
            "precision": path.precision,
            "head": path.head,
        }
    )


def pipeline_options(
    devices: Devices, batch_size: int, decode_workers: int | None, decode_timeout: float, decoding: ImageOptions
) -> PipelineOptions:
    """What decides the speed of a run; as many decoders as threads unless their number is given."""
    workers = devices.threads if decode_workers is None else decode_workers
    load = partial(load_image, options=decoding)
    return PipelineOptions(batch_size, devices.lanes, workers, decode_timeout, load)


def _absolute(spec: str) -> str:
    """A path without doubt about where it starts, in text that JSON can hold: other bytes stand there as escapes."""
    text = spec if spec == "-" or "://" in spec else os.path.realpath(spec)
    return os.fsencode(text).decode("utf-8", "backslashreplace")
