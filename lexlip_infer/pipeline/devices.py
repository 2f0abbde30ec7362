"""One model on several devices, each with its lanes; the threads of the CPU are shared out among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from lexlip_infer.bundle import Modality
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import InputError
from lexlip_infer.runtime.choice import PathChoice, RuntimeOptions

__all__ = ["Devices", "open_devices", "share_out"]

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
