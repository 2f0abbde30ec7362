"""Which settings a run has, and on which devices: resolved here and nowhere else.

What was asked for, and the model's defaults for what was not, become `RunSettings` (what decides the bytes) and
`PipelineOptions` (what decides the speed). One model may run on several devices, each with its lanes; the threads of
the CPU are shared out among them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from lexlip_infer.bundle import Modality
from lexlip_infer.collection.manifest import RunSettings
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import QuantisationSettings
from lexlip_infer.inputs.image_options import MAX_MEGAPIXELS, ImageOptions
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.readers.specs import STDIN
from lexlip_infer.pipeline.stages import PipelineOptions
from lexlip_infer.runtime.choice import PathChoice, RuntimeOptions
from lexlip_infer.runtime.lookup import checked_mode

#: Of one device. Each lane holds the activations of a batch; more cores than these work within a batch.
_MOST_LANES = 16


@dataclass(frozen=True, slots=True)
class Devices:
    """Encoders that are ready for lanes.

    Attributes:
        encoders: one a device, towers not loaded yet.
        lanes: of each.
        threads: of the CPU, for all of them together.
        path: what runs the tower, the same on each but for the number of the device.
    """

    encoders: list[LexLIPEncoder]
    lanes: int
    threads: int
    path: PathChoice


def open_devices(
    model: str | None, names: str, options: RuntimeOptions, modality: Modality, lanes: int | None = None
) -> Devices:
    """Open a model on the devices of a list, such as "cuda:0,cuda:1".

    Args:
        model: as `LexLIPEncoder.from_pretrained` takes it.
        names: with commas between them.
        options: for each, but for the device; threads are for all together.
        modality: whose tower will run.
        lanes: see `share_out`.

    Raises:
        BundleError: there is no such model, or it is damaged.
        InputError, BackendUnavailable, MissingExtra: see `share_out` and `from_pretrained`.
    """
    wishes = asdict(options)
    del wishes["device"]
    encoders = [LexLIPEncoder.from_pretrained(model, name.strip(), **wishes) for name in names.split(",")]
    return share_out(encoders, modality, lanes)


def share_out(encoders: Sequence[LexLIPEncoder], modality: Modality, lanes: int | None = None) -> Devices:
    """Encoders whose threads are those of one lane.

    Args:
        encoders: of the same model, one a device, each as if it had all threads.
        modality: whose tower will run.
        lanes: of each device; when absent, as many as there are threads on a CPU where the path allows several, else 1.

    Raises:
        InputError: a device stands there twice, the devices would round differently, or the path has one lane only.
        BackendUnavailable: what was asked for cannot run here.
    """
    paths = [encoder.path(modality) for encoder in encoders]
    _check(paths)
    threads = encoders[0].threads
    on_cpu = paths[0].device == "cpu"
    # A session of OpenVINO, and what is recorded on a GPU, serves one caller at a time.
    several = paths[0].backend == "onnxruntime" and not encoders[0].options.cuda_graph
    count = lanes or (min(threads, _MOST_LANES) if several and on_cpu else 1)
    if count > 1 and not several:
        raise InputError(f"{count} lanes with OpenVINO or CUDA graphs, which serve one at a time; leave --lanes out")
    each = max(1, threads // (count * len(encoders)))
    sharing = [LexLIPEncoder(encoder.bundle, replace(encoder.options, threads=each)) for encoder in encoders]
    return Devices(sharing, count, threads, paths[0])


def _check(paths: Sequence[PathChoice]) -> None:
    names = [path.device for path in paths]
    if len(set(names)) < len(names):
        raise InputError(f"the devices are {', '.join(names)}; expected each of them once")
    kinds = {(path.device.partition(":")[0], path.backend, path.precision, path.head) for path in paths}
    if len(kinds) > 1:
        described = ", ".join(" ".join(kind) for kind in sorted(kinds))
        raise InputError(
            f"the devices would run different paths, which round differently ({described}); "
            "expected devices of one kind: name one, or start a run for each with --shard-num"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeRequest:
    """All that can be asked of a run; what is absent is the model's default, or what this machine suggests.

    Attributes:
        modality: what is encoded.
        source: folders, patterns, archives, tables, lists of paths, URLs; "-" is a list on standard input.
        model: bundle folder or hub id; the model that ships with the package when absent.
        device: "auto", "cpu", "cuda", or several of "cuda:N" with commas between them.
        precision: of the backbone: "auto", "f32", "fp16", "bf16" or "int8".
        backend: what runs the backbone: "auto", "onnxruntime" or "openvino".
        head: what runs the lexicon head: "auto", "native", "onnx" or "triton".
        threads: of the CPU, for everything together.
        memory_arena: see `RuntimeOptions`; `cuda_graph` likewise.
        top_k: terms to keep of each document.
        scale: of the quantiser: impact = round(scale * weight), at least 1.
        batch_size: images or texts at a time.
        lanes: batches at once on each device; one a thread, at most 16, when absent.
        decode_workers: processes that decode images, 0 decodes in threads; one a thread when absent.
        decode_timeout: seconds after which an image fails.
        items_per_shard: inputs that make one part file.
        compress: of part files: "none" or "gz".
        shard_id: which of `shard_num` runs that share the input this is, from 0; each makes every N-th part file.
        id_column: column or field of the id; `image_column` and `text_column` likewise.
        prompt: name of the model's prompt that is put before each text; that of documents when absent, if it has one.
        query_mode: "tower", "lookup" for texts that go through no model, or None for the model's own way; see
            `LexLIPEncoder.encode_texts`.
        background: see `ImageOptions`; `frames`, `truncated` and `max_megapixels` likewise.
        engine: "local", or "ray" for many machines.
        address: of a Ray cluster, HOST:PORT or "auto"; one on this machine when absent.
        ray_actors: copies of the model, `threads` each; as many as fit when absent.

    Raises:
        InputError: a choice that is not to be had, or two that do not go together.
    """

    modality: Modality
    source: Sequence[str]
    model: str | None = None
    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    head: str = "auto"
    threads: int | None = None
    memory_arena: bool = True
    cuda_graph: bool = False
    top_k: int | None = None
    scale: float | None = None
    batch_size: int = 16
    lanes: int | None = None
    decode_workers: int | None = None
    decode_timeout: float = 30.0
    items_per_shard: int = 5000
    compress: str = "none"
    shard_id: int = 0
    shard_num: int = 1
    id_column: str | None = None
    image_column: str | None = None
    text_column: str | None = None
    prompt: str | None = None
    query_mode: str | None = None
    background: str = "white"
    frames: str = "first"
    truncated: str = "fail"
    max_megapixels: float = MAX_MEGAPIXELS
    engine: str = "local"
    address: str | None = None
    ray_actors: int | None = None

    def __post_init__(self) -> None:
        _ = self.decoding
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) is not None and not least <= value < _TOO_MUCH:
                raise InputError(f"{name} is {value!r}; expected at least {least}, and less than 2^31")
        self._check_engine()
        if self.compress in ("zst", "zstd"):
            raise InputError("--compress zst: Anserini reads plain and gzip files, no Zstandard; use gz")
        if self.compress not in ("none", "gz"):
            raise InputError(f"--compress is {self.compress!r}; expected none or gz")
        if self.shard_id >= self.shard_num:
            raise InputError(
                f"--shard-id is {self.shard_id} of --shard-num {self.shard_num}; "
                f"expected 0 to {self.shard_num - 1}, one for each run"
            )
        other, companion = ("text_column", "texts") if self.modality == "image" else ("image_column", "images")
        if getattr(self, other) is not None:
            raise InputError(f"--{other.replace('_', '-')} goes with --{companion}; leave it out")
        if self.prompt is not None and self.modality == "image":
            raise InputError("--prompt goes with --texts; leave it out")
        if self.query_mode not in (None, "tower"):
            self._check_no_tower()

    def _check_no_tower(self) -> None:
        if self.modality == "image":
            raise InputError("--query-mode goes with --texts; leave it out")
        for name in ("device", "precision", "backend", "head"):
            if (value := getattr(self, name)) != "auto":
                raise InputError(
                    f"--{name} {value} is for a tower, and --query-mode {self.query_mode} runs none; leave it out"
                )

    def _check_engine(self) -> None:
        if self.engine == "local":
            for option, value in (("--address", self.address), ("--ray-actors", self.ray_actors)):
                if value is not None:
                    raise InputError(f"{option} goes with --engine ray; leave it out")
            return
        if self.engine != "ray":
            raise InputError(f"--engine is {self.engine!r}; expected local or ray")
        if STDIN in self.source:
            raise InputError("--engine ray reads in a process of its own, which has no stdin; put the list into a file")
        if ":" in self.device or "," in self.device:
            raise InputError(
                f"--device is {self.device!r}; Ray gives every actor a GPU of its own: use cuda with --engine ray"
            )

    @property
    def decoding(self) -> ImageOptions:
        """What becomes of images that are not plain.

        Raises:
            InputError: no such choice.
        """
        # Words are checked by whoever knows them, not by their type.
        return ImageOptions(self.background, self.frames, self.truncated, self.max_megapixels)  # type: ignore[arg-type]

    @property
    def runtime(self) -> RuntimeOptions:
        """What is asked of each device; which, `open_devices` says."""
        choices = (self.precision, self.backend, self.head, self.threads, self.memory_arena, self.cuda_graph)
        return RuntimeOptions("auto", *choices)


_TOO_MUCH = 2**31
_LEAST = {
    "top_k": 1,
    "batch_size": 1,
    "lanes": 1,
    "decode_workers": 0,
    "decode_timeout": 0.001,
    "items_per_shard": 1,
    "shard_id": 0,
    "shard_num": 1,
    "ray_actors": 1,
}


def run_settings(devices: Devices, request: EncodeRequest) -> RunSettings:
    """What decides the bytes of a run: as asked for, else the model's default.

    Raises:
        BundleError: the model has no weights for texts without its tower, and the request wants them.
        InputError: the scale is out of range, or the model has no such prompt or mode.
    """
    encoder, path, model = devices.encoders[0], devices.path, request.model
    manifest, decoding = encoder.manifest, request.decoding
    of_texts = request.modality == "text"
    default_k = manifest.top_k.text if of_texts else manifest.top_k.image
    scale = manifest.quantisation.scale if request.scale is None else request.scale
    quantisation = QuantisationSettings(scale, manifest.quantisation.cap, manifest.similarity == "cosine")
    mode = checked_mode(encoder.bundle, request.query_mode, request.prompt == "query") if of_texts else "tower"
    device = path.device.partition(":")[0]
    ran = {"device": device, "backend": path.backend, "precision": path.precision, "head": path.head}
    return RunSettings.model_validate(
        {
            "modality": request.modality,
            "source": " ".join(_absolute(spec) for spec in request.source),
            "model": _absolute(model) if model is not None and Path(model).exists() else model,
            "model_name": manifest.name,
            "model_fingerprint": encoder.bundle.fingerprint,
            "top_k": min(default_k if request.top_k is None else request.top_k, manifest.vocab_size),
            "scale": quantisation.scale,
            "cap": quantisation.cap,
            "normalise": quantisation.normalise,
            "items_per_shard": request.items_per_shard,
            "compress": request.compress,
            "shard_id": request.shard_id,
            "shard_num": request.shard_num,
            "background": decoding.background,
            "frames": decoding.frames,
            "truncated": decoding.truncated,
            "max_megapixels": decoding.max_megapixels,
            "prompt": manifest.text.prompt(request.prompt or "document") if of_texts and manifest.text else "",
            "query_mode": mode,
            **(ran if mode == "tower" else {}),
        }
    )


def pipeline_options(devices: Devices, request: EncodeRequest) -> PipelineOptions:
    """What decides the speed of a run; as many decoders as threads unless their number is given."""
    workers = devices.threads if request.decode_workers is None else request.decode_workers
    load = partial(load_image, options=request.decoding)
    return PipelineOptions(request.batch_size, devices.lanes, workers, request.decode_timeout, load)


def _absolute(spec: str) -> str:
    """A path without doubt about where it starts, in text that JSON can hold: other bytes stand there as escapes."""
    text = spec if spec == "-" or "://" in spec else os.path.realpath(spec)
    return os.fsencode(text).decode("utf-8", "backslashreplace")
